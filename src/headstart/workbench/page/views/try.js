// The model at work: a dropped photo, or the camera, with bars as it looks.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { dropped, isImage, upload } from "../api.js";
import { T } from "../text.js";
import { Bars, Camera, frame } from "../ui.js";
import { Chooser, useRuns } from "./results.js";

export function Try({ project, attempt, say }) {
  const { api, about, name } = project;
  const { runs, run, choose } = useRuns(project, attempt);
  const [photo, setPhoto] = useState(null);
  const [told, setTold] = useState(null);
  const [map, setMap] = useState(null);
  const [live, setLive] = useState(false);
  const [near, setNear] = useState(null);
  const chosen = useRef(null);
  const current = useRef(null);
  const send = (file, explain) => api.send(`runs/${chosen.current}/try${explain != null ? `?explain=${encodeURIComponent(explain)}` : ""}`, file, file.name || "camera.jpg");
  const show = (file) => attempt(async () => {
    if (!file) return;
    setLive(false); setMap(null); setTold(null); setNear(null);
    current.current = file;
    setPhoto((before) => { if (before) URL.revokeObjectURL(before); return URL.createObjectURL(file); });
    setTold(await send(file));
  });
  const ref = useRef(show);
  ref.current = show;
  useEffect(() => {
    const over = (event) => event.preventDefault();
    const drop = async (event) => { event.preventDefault(); ref.current((await dropped(event.dataTransfer))[0]); };
    const paste = async (event) => ref.current((await dropped(event.clipboardData))[0]);
    addEventListener("dragover", over); addEventListener("drop", drop); addEventListener("paste", paste);
    return () => { removeEventListener("dragover", over); removeEventListener("drop", drop); removeEventListener("paste", paste); };
  }, []);
  if (runs && !run) return html`<p>${T.results.none}</p>`;
  if (!run) return html`<p class="soft">${T.loading}</p>`;
  chosen.current = run.run;
  const watch = async (video) => {
    while (video.srcObject?.active && video.isConnected) {
      const file = await frame(video);
      if (!file) break;
      try { current.current = file; setTold(await send(file)); } catch (failed) { project.setError(failed); break; }
    }
  };
  const explain = () => attempt(async () => { if (map) return setMap(null); const found = await send(current.current, told.label); setMap(found.map); });
  const nearest = () => attempt(async () => {
    setNear([]);
    try {
      setNear((await api.send(`runs/${chosen.current}/try?nearest=true`, current.current, current.current.name || "camera.jpg")).nearest);
    } catch (failed) { setNear(null); throw failed; }
  });
  const wrong = (label) => attempt(async () => {
    const file = current.current.name ? current.current : new File([current.current], `camera-${Date.now()}.jpg`, { type: "image/jpeg" });
    const found = await upload(name, [file], label, () => {});
    const why = Object.values(found.refused)[0];
    say(why ?? T.try.added(label));
  });
  return html`<section>
    <${Chooser} runs=${runs} run=${run} choose=${(to) => { setTold(null); setMap(null); setNear(null); setPhoto(null); choose(to); }} />
    <div class="drop row spread"><span>${T.try.about}</span><div class="row">
      <label class="button primary">${T.try.choose}<input type="file" class="hidden" accept="image/*" onChange=${(e) => { show([...e.target.files].filter(isImage)[0]); e.target.value = ""; }} /></label>
      <button type="button" onClick=${() => { setPhoto(null); setTold(null); setMap(null); setLive(!live); }}>${live ? T.try.stop : T.try.live}</button></div></div>
    <div class="split try">
      <div>${live ? html`<${Camera} onReady=${watch} onFail=${() => { setLive(false); project.setError({ message: T.photos.noCamera }); }} />`
        : photo && html`<img class="whole" src=${map ?? photo} alt=${T.try.choose} />`}</div>
      ${told && html`<div aria-live="polite"><h2>${told.label}</h2>
        ${told.unknown && html`<p class="unknown">${T.try.unknown}</p>`}
        <${Bars} probabilities=${told.probabilities} />
        <div class="row">
          ${!live && html`<button type="button" class="small" onClick=${explain} aria-pressed=${!!map}>${map ? T.try.hide : T.try.where}</button>`}
          ${!live && html`<button type="button" class="small" onClick=${nearest}>${T.try.nearest}</button>`}
          <label class="row">${T.try.wrong}<select value="" onChange=${(event) => event.target.value && wrong(event.target.value)}>
            ${["", ...about.classes.map((one) => one.name)].map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label></div>
        ${near && (near.length ? html`<h3>${T.try.nearest}</h3><div class="pictures">${near.map((one) => html`<figure class="near"><img src=${api.thumbnail(one.id)} alt="" /><figcaption>${project.photos.labels.get(one.id)} ${one.similarity.toFixed(2)}</figcaption></figure>`)}</div>` : html`<p class="soft">${T.loading}</p>`)}</div>`}
    </div>
  </section>`;
}
