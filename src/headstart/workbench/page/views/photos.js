// Classes and their photos: dropping, selecting, labelling.
import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { dropped, isImage, upload } from "../api.js";
import { T, photosText } from "../text.js";
import { Camera, Dialog, Grid, frame } from "../ui.js";

const ALL = "*", NONE = "-", OUT = "x";

export function Photos({ project, attempt, say }) {
  const { about, photos, api, name, refresh, setError } = project;
  const [shown, setShown] = useState({ kind: ALL });
  const [selected, setSelected] = useState(new Set());
  const [current, setCurrent] = useState(null);
  const [anchor, setAnchor] = useState(null);
  const [adding, setAdding] = useState(null);
  const [camera, setCamera] = useState(false);
  const [looking, setLooking] = useState(null);
  const label = shown.kind === "class" ? shown.name : null;
  const items = useMemo(() => photos.ids.filter((id) => {
    const out = photos.out.has(id);
    if (shown.kind === OUT) return out;
    return !out && (shown.kind === ALL || (photos.labels.get(id) ?? null) === label);
  }), [photos, shown]);
  useEffect(() => { setSelected(new Set()); setCurrent(null); }, [shown]);
  useEffect(() => {  // what is no longer here cannot stay selected
    const here = new Set(items);
    setSelected((before) => [...before].every((id) => here.has(id)) ? before : new Set([...before].filter((id) => here.has(id))));
    setCurrent((before) => before == null ? before : items.length ? Math.min(before, items.length - 1) : null);
  }, [items]);
  const names = about.classes.map((one) => one.name);

  const add = (files, to) => attempt(async () => {
    if (!files.length) return;
    setAdding({ done: 0, total: files.length });
    try {
      const told = await upload(name, files, to, (done, total) => setAdding({ done, total }));
      const refused = Object.keys(told.refused).length;
      if (refused) setError({ message: T.photos.refused(refused), files: told.refused });
    } finally { setAdding(null); refresh(); }
  });
  const target = useRef(label);
  target.current = label;
  useEffect(() => {
    const over = (event) => event.preventDefault();
    const drop = async (event) => { event.preventDefault(); add(await dropped(event.dataTransfer), target.current); };
    const paste = async (event) => { const files = await dropped(event.clipboardData); if (files.length) add(files, target.current); };
    addEventListener("dragover", over); addEventListener("drop", drop); addEventListener("paste", paste);
    return () => { removeEventListener("dragover", over); removeEventListener("drop", drop); removeEventListener("paste", paste); };
  }, []);

  const chosen = () => selected.size ? [...selected] : current != null ? [items[current]] : [];
  const change = (body) => {
    const ids = chosen();
    if (!ids.length) return;
    project.apply(ids, body);  // at once: the next key must not meet the same photo
    attempt(() => api.post("change", { ...body, ids })).then((done) => { if (!done) refresh(); });
  };
  const light = useRef(false);  // a selection by one click, which the arrows leave behind
  const toggle = (i, { toggle: one, range }) => {
    setCurrent(i);
    light.current = !one && !range;
    const id = items[i];
    if (range && anchor != null) {
      const [a, b] = [Math.min(anchor, i), Math.max(anchor, i)];
      setSelected(new Set(items.slice(a, b + 1)));
    } else {
      setAnchor(i);
      setSelected((before) => {
        if (!one) return before.size === 1 && before.has(id) ? new Set() : new Set([id]);
        const after = new Set(before);
        if (!after.delete(id)) after.add(id);
        return after;
      });
    }
  };
  const move = (i, range) => {
    setCurrent(i);
    if (range) { const from = anchor ?? i; setSelected(new Set(items.slice(Math.min(from, i), Math.max(from, i) + 1))); if (anchor == null) setAnchor(i); }
    else { setAnchor(i); if (light.current) setSelected(new Set()); }
    light.current = light.current && !range;
  };
  const key = (event) => {
    if (event.ctrlKey || event.metaKey) return;
    if (/^[1-9]$/.test(event.key) && names[event.key - 1]) change({ do: "label", label: names[event.key - 1] });
    else if (event.key === "Delete" || event.key === "Backspace") change({ do: shown.kind === OUT ? "bring_back" : "leave_out" });
    else if (event.key.toLowerCase() === "a") setSelected(new Set(items));
    else if (event.key === "Escape") setSelected(new Set());
    else if (event.key === "Enter" && current != null) setLooking(items[current]);
    else return;
    event.preventDefault();
  };
  const say_ = (id) => T.photos.photo(photos.names.get(id), photos.labels.get(id));
  const filters = [
    { key: ALL, kind: ALL, words: T.photos.all, count: photos.ids.length - photos.out.size },
    ...about.classes.map((one) => ({ key: `c${one.name}`, kind: "class", name: one.name, words: one.name, count: one.photos })),
    { key: NONE, kind: NONE, words: T.photos.unlabelled, count: about.unlabelled },
    { key: OUT, kind: OUT, words: T.photos.leftOut, count: photos.out.size },
  ];
  const same = (one) => one.kind === shown.kind && one.name === shown.name;
  const pick = (event, to) => { add([...event.target.files].filter(isImage), to); event.target.value = ""; };
  const dropOn = (one) => one.kind !== "class" ? {} : {
    onDragOver: (event) => event.preventDefault(),
    onDrop: async (event) => { event.preventDefault(); event.stopPropagation(); add(await dropped(event.dataTransfer), one.name); },
  };
  return html`<div class="split">
    <aside>
      <ul class="classes" aria-label=${T.photos.label}>${filters.map((one) => html`<li key=${one.key}>
        <button type="button" aria-pressed=${same(one)} onClick=${() => setShown(one)} ...${dropOn(one)}>
          <span>${one.words}</span><span class="count">${one.count.toLocaleString("en")}</span></button></li>`)}</ul>
      <form class="row" onSubmit=${(event) => {
        event.preventDefault();
        const form = event.target, value = new FormData(form).get("class");
        attempt(async () => { const told = await api.post("classes", { do: "add", name: value }); form.reset(); await refresh(); setShown({ kind: "class", name: told.name }); });
      }}><input name="class" required maxlength="80" placeholder=${T.photos.className} aria-label=${T.photos.className} autocomplete="off" />
        <button class="small">${T.photos.add}</button></form>
      ${label != null && html`<${ClassTools} key=${label} label=${label} api=${api} attempt=${attempt} empty=${items.length === 0}
        onDone=${async (to) => { await refresh(); setShown(to ? { kind: "class", name: to } : { kind: ALL }); }} />`}
    </aside>
    <section class="stage">
      <div class="drop row spread">
        <span>${names.length < 2 ? html`<span class="soft">${T.photos.first}</span>` : T.photos.drop(label)}</span>
        <div class="row">
          <label class="button primary">${T.photos.choose}<input type="file" class="hidden" accept="image/*" multiple onChange=${(e) => pick(e, label)} /></label>
          <label class="button">${T.photos.chooseFolder}<input type="file" class="hidden" webkitdirectory multiple onChange=${(e) => pick(e, label)} /></label>
          <button type="button" onClick=${() => setCamera(true)}>${T.photos.camera}</button>
        </div>
      </div>
      ${adding && html`<p role="status">${T.photos.uploading(adding.done, adding.total)} <progress max=${adding.total} value=${adding.done} aria-label=${T.photos.add}></progress></p>`}
      <div class="row tools" role="toolbar" aria-label=${T.photos.label}>
        <span class="soft" aria-live="polite">${selected.size ? T.photos.selected(selected.size) : photosText(items.length)}</span>
        ${items.length > 0 && html`<button type="button" class="small" onClick=${() => setSelected(selected.size === items.length ? new Set() : new Set(items))}>
          ${selected.size === items.length ? T.photos.clear : T.photos.selectAll}</button>`}
        ${selected.size > 0 && html`
          ${names.map((one, i) => html`<button type="button" class="small" onClick=${() => change({ do: "label", label: one })}>${i < 9 ? html`<kbd>${i + 1}</kbd> ` : ""}${one}</button>`)}
          <button type="button" class="small" onClick=${() => change({ do: "label", label: null })}>${T.photos.takeLabel}</button>
          ${shown.kind === OUT
            ? html`<button type="button" class="small" onClick=${() => change({ do: "bring_back" })}>${T.photos.bringBack}</button>`
            : html`<button type="button" class="small" onClick=${() => change({ do: "leave_out" })}>${T.photos.leaveOut}</button>`}`}
      </div>
      ${items.length === 0 ? html`<p class="soft pad">${T.photos.empty}</p>` : html`<${Grid} items=${items} selected=${selected} current=${current}
        thumbnail=${(id) => api.thumbnail(id)} name=${say_} label=${T.photos.grid} onCurrent=${move} onToggle=${toggle} onKey=${key}
        caption=${shown.kind === "class" ? null : (id) => photos.labels.get(id) ?? ""} />`}
      <p class="soft keys">${T.photos.keys}</p>
    </section>
    ${looking && html`<${Dialog} title=${say_(looking)} onClose=${() => setLooking(null)}><img class="whole" src=${api.photo(looking)} alt=${say_(looking)} /></${Dialog}>`}
    ${camera && html`<${Burst} label=${label} onClose=${() => setCamera(false)} onPhotos=${(files) => add(files, label)} />`}
  </div>`;
}

function ClassTools({ label, api, attempt, empty, onDone }) {
  const rename = (event) => {
    event.preventDefault();
    const to = new FormData(event.target).get("to");
    attempt(async () => onDone((await api.post("classes", { do: "rename", name: label, to })).name));
  };
  return html`<details class="card"><summary>${T.photos.rename}</summary>
    <form onSubmit=${rename}><label>${T.photos.renameTo(label)}<input name="to" required maxlength="80" defaultValue=${label} autocomplete="off" /></label>
      <p class="soft">${T.photos.renameHelp}</p>
      <div class="row"><button class="small">${T.photos.rename}</button>
      ${empty && html`<button type="button" class="small" onClick=${() => attempt(async () => { await api.post("classes", { do: "remove", name: label }); onDone(null); })}>${T.photos.remove}</button>`}</div>
    </form></details>`;
}

// A burst of photos while the button is held, by mouse, finger or the space bar.
function Burst({ label, onClose, onPhotos }) {
  const video = useRef(null), timer = useRef(null), taken = useRef([]);
  const [count, setCount] = useState(0);
  const [failed, setFailed] = useState(false);
  const shoot = async () => {
    if (!video.current) return;
    const blob = await frame(video.current);
    taken.current.push(new File([blob], `camera-${Date.now()}.jpg`, { type: "image/jpeg" }));
    setCount(taken.current.length);
  };
  const start = () => { if (!timer.current) { shoot(); timer.current = setInterval(shoot, 200); } };
  const stop = () => { clearInterval(timer.current); timer.current = null; };
  useEffect(() => stop, []);
  const held = { onPointerDown: start, onPointerUp: stop, onPointerLeave: stop,
    onKeyDown: (e) => { if (e.key === " " || e.key === "Enter") { e.preventDefault(); start(); } }, onKeyUp: stop, onBlur: stop };
  return html`<${Dialog} title=${label ? `${T.photos.camera}: ${label}` : T.photos.camera} onClose=${() => { stop(); onClose(); if (taken.current.length) onPhotos(taken.current); }}>
    ${failed ? html`<p>${T.photos.noCamera}</p>` : html`<${Camera} onReady=${(found) => { video.current = found; }} onFail=${() => setFailed(true)} />
      <div class="row"><button type="button" class="primary" ...${held}>${T.photos.hold}</button><span role="status">${T.photos.holding(count)}</span></div>`}
  </${Dialog}>`;
}
