// Keeps the files of this folder, so that the page works without a network. VERSION and FILES stand above.
// A new version waits until no page of the old one is open: labels of one must not meet the model of the other.
const PREFIX = `headstart ${new URL("./", self.location).pathname} `; // other folders of this host have their own
const CACHE = PREFIX + VERSION;

addEventListener("install", (event) => {
  const wanted = ["./", ...FILES].map((name) => new Request(name, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(wanted)));
});

addEventListener("activate", (event) => {
  const old = (name) => name.startsWith(PREFIX) && name !== CACHE;
  event.waitUntil(
    caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(
    caches.open(CACHE).then((cache) => cache.match(event.request, { ignoreSearch: true }))
      .then((kept) => kept || fetch(event.request)),
  );
});
