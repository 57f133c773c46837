// What page.js asks in place of a server: a worker that computes in this browser. No photo leaves the device.
"use strict";

window.local = (() => {
  const TOO_OLD = "This browser is too old for the model (it needs WebAssembly SIMD and module workers).";
  const asked = new Map(); // number -> [resolve, reject] of a photo on its way
  let worker, next = 0, ready;

  function begin() {
    if (location.protocol === "file:") {
      return Promise.reject(new Error("This page works from a web server only: python -m http.server in its folder is one."));
    }
    return new Promise((done, failed) => {
      worker = new Worker("worker.js", { type: "module" });
      worker.addEventListener("error", () => failed(new Error(TOO_OLD)));
      worker.addEventListener("message", ({ data }) => {
        if (data.ready) return done();
        if (data.number === undefined) return failed(new Error(data.problem));
        const [answered, refused] = asked.get(data.number);
        asked.delete(data.number);
        if (data.problem) refused(new Error(data.problem));
        else answered(data);
      });
    });
  }

  // {probabilities, distance} of a photo: a Blob, or a frame as an ImageBitmap.
  function ask(picture) {
    return new Promise((answered, refused) => {
      asked.set(next, [answered, refused]);
      worker.postMessage({ number: next, picture }, picture instanceof ImageBitmap ? [picture] : []);
      next += 1;
    });
  }

  function named(found) {
    const every = Object.fromEntries(model.classes.map((label, c) => [label, Number(found.probabilities[c].toFixed(6))]));
    const best = found.probabilities.indexOf(Math.max(...found.probabilities));
    const far = found.distance;
    const labels = model.labels && model.classes.filter((_, c) => found.probabilities[c] >= model.labels.thresholds[c]);
    return {
      ...(labels ? { labels } : {}), label: model.classes[best], probability: every[model.classes[best]], probabilities: every,
      unknown: far === null ? null : far > 1, distance: far === null ? null : Number(far.toFixed(4)),
    };
  }

  // -- the camera's picture, again and again while it is open --

  let watching = false;

  async function watch() {
    if (watching) return;
    watching = true;
    while (!$("viewfinder").hidden) {
      try {
        const found = named(await ask(await createImageBitmap($("video"))));
        $("live-label").textContent = words(found);
        $("live-unknown").hidden = !found.unknown;
        $("live-bars").replaceChildren(...bars(found));
      } catch {
        $("live-label").textContent = "…"; // a frame that was not there yet
      }
      await new Promise((done) => requestAnimationFrame(done));
    }
    watching = false;
  }

  window.addEventListener("DOMContentLoaded", () => {
    $("video").addEventListener("playing", watch);
    if (!("serviceWorker" in navigator)) return;
    navigator.serviceWorker.register("sw.js").catch(() => {}); // without one, the page works, but not offline
    navigator.serviceWorker.ready.then(() => { $("offline").hidden = false; });
  });

  return {
    about: async () => {
      await (ready ??= begin());
      const response = await fetch("model.json");
      const facts = await response.json();
      return { explains: false, limits: {}, figures: {}, ...facts };
    },
    predict: async (file) => named(await ask(file)),
  };
})();
