// Requests to the studio. An error has the server's sentence, and its hint.
export class Failed extends Error {
  constructor(told) { super(told.error); this.hint = told.hint || ""; this.lines = told.lines || []; this.files = told.files || {}; }
}

async function answer(response) {
  const told = await response.json().catch(() => ({ error: `The studio answered ${response.status}.` }));
  if (!response.ok) throw new Failed(told);
  return told;
}

const at = (project, path) => `api/projects/${encodeURIComponent(project)}${path ? `/${path}` : ""}`;

export const get = (path) => fetch(path).then(answer);
export const post = (path, body = {}) =>
  fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }).then(answer);

export const of = (project) => ({
  id: "",  // of the project, in the addresses of pictures: numbers of photos begin at 1 in each project
  get: (path) => get(at(project, path)),
  post: (path, body) => post(at(project, path), body),
  send: (path, file, name) => {
    const form = new FormData();
    form.append("files", file, name || file.name);
    return fetch(at(project, path), { method: "POST", body: form }).then(answer);
  },
  thumbnail(id) { return `${at(project, `thumbnails/${id}`)}?of=${this.id}`; },
  photo(id) { return `${at(project, `photos/${id}`)}?of=${this.id}`; },
  file: (path) => at(project, `files/${path.split("/").map(encodeURIComponent).join("/")}`),
  events: () => new EventSource(at(project, "events")),
});

const PART = 20, BYTES = 60e6;

// Adds files in parts, so that no request is too large; progress(done, total).
export async function upload(project, files, label, progress) {
  const refused = {};
  let done = 0, added = 0;
  for (let i = 0; i < files.length;) {
    const form = new FormData();
    let bytes = 0, count = 0;
    while (i < files.length && count < PART && (count === 0 || bytes + files[i].size < BYTES)) {
      form.append("files", files[i], files[i].name);
      bytes += files[i].size; count += 1; i += 1;
    }
    const query = label ? `?label=${encodeURIComponent(label)}` : "";
    const told = await fetch(at(project, `photos${query}`), { method: "POST", body: form }).then(answer);
    for (const [name, reason] of Object.entries(told.refused)) { // phones call every photo image.jpg
      let key = name;
      for (let n = 2; key in refused; n += 1) key = `${name} (${n})`;
      refused[key] = reason;
    }
    added += told.added.length; done += count;
    progress(done, files.length);
  }
  return { added, refused };
}

const IMAGE = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|heic|heif|avif)$/i;

// The photos of a drop or paste, folders walked through.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((yes, no) => entry.file(yes, no));
      if (IMAGE.test(file.name) || file.type.startsWith("image/")) found.push(file);
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((yes, no) => reader.readEntries(yes, no));
        if (!some.length) break;
        for (const one of some) if (!one.name.startsWith(".")) await walk(one);
      }
    }
  };
  for (const entry of entries) await walk(entry);
  return found.length ? found : [...transfer.files].filter((file) => file.type.startsWith("image/"));
}
export const isImage = (file) => IMAGE.test(file.name) || file.type.startsWith("image/");
