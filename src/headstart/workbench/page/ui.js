// Small parts that the pages share.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { T } from "./text.js";

export function Command({ words }) {
  const [copied, setCopied] = useState(false);
  if (!words) return null;
  const copy = () => navigator.clipboard?.writeText(words).then(() => { setCopied(true); setTimeout(() => setCopied(false), 1500); });
  return html`<details class="command"><summary>${T.command}</summary>
    <div class="row"><code>${words}</code><button type="button" class="small" onClick=${copy}>${copied ? T.copied : T.copy}</button></div></details>`;
}

export function Problem({ error, onClose }) {
  if (!error) return null;
  const files = Object.entries(error.files || {});
  return html`<div class="message" role="alert">
    <p><strong>${error.message}</strong> ${error.hint}</p>
    ${files.length > 0 && html`<ul>${files.slice(0, 20).map(([name, why]) => html`<li>${name}: ${why}</li>`)}</ul>`}
    ${error.lines?.length > 0 && html`<ul>${error.lines.map((line) => html`<li>${line}</li>`)}</ul>`}
    ${onClose && html`<button type="button" class="small" onClick=${onClose}>${T.close}</button>`}
  </div>`;
}

// Those of the training's options that other commands share.
export const network = (training) => Object.fromEntries(Object.entries(training ?? {}).filter(([key]) => ["backbone", "weights"].includes(key)));

// A dialog that closes with Escape and gives the focus back.
export function Dialog({ title, onClose, children }) {
  const ref = useRef();
  useEffect(() => { ref.current.showModal(); }, []);
  return html`<dialog ref=${ref} aria-label=${title} onClose=${onClose}>
    <div class="row spread"><h2>${title}</h2><button type="button" class="small" onClick=${() => ref.current.close()}>${T.close}</button></div>
    ${children}
  </dialog>`;
}

// The width of an element, kept up to date.
export function useSize(ref) {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setSize({ width: entry.contentRect.width, height: entry.contentRect.height }));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return size;
}

const CELL = 124, GAP = 8;

// A grid of thumbnails of which only those in sight exist. items: ids; selected: a Set of ids; current: index with the keyboard's focus.
export function Grid({ items, selected, current, thumbnail, name, caption, onCurrent, onToggle, onKey, label }) {
  const ref = useRef();
  const { width, height } = useSize(ref);
  const [top, setTop] = useState(0);  // in rows: a new one is drawn anew, a scrolled pixel is not
  const columns = Math.max(1, Math.floor((width + GAP) / (CELL + GAP)));
  const cell = width ? (width - GAP * (columns - 1)) / columns : CELL;
  const row = cell + GAP;
  const rows = Math.ceil(items.length / columns);
  const first = Math.max(0, top - 2);
  const last = Math.min(rows, top + 1 + Math.ceil(height / row) + 2);
  useEffect(() => {  // keep the current photo in sight
    if (current == null || !ref.current || !height) return;
    const y = Math.floor(current / columns) * row;
    if (y < ref.current.scrollTop) ref.current.scrollTop = y;
    else if (y + row > ref.current.scrollTop + height) ref.current.scrollTop = y + row - height;
  }, [current, columns, height]);
  const key = (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -items.length, End: items.length,
                    PageDown: columns * Math.max(1, Math.floor(height / row)), PageUp: -columns * Math.max(1, Math.floor(height / row)) };
    if (event.key in steps && !event.altKey) {
      event.preventDefault();
      const to = Math.min(items.length - 1, Math.max(0, (current ?? -1) + steps[event.key]));
      if (items.length) onCurrent(to, event.shiftKey);
    } else if (event.key === " " && current != null) {
      event.preventDefault();
      onToggle(current, { toggle: true });
    } else onKey?.(event);
  };
  const cells = [];
  for (let i = first * columns; i < Math.min(items.length, last * columns); i += 1) {
    const id = items[i], r = Math.floor(i / columns), c = i % columns;
    cells.push(html`<div key=${id} id=${`photo-${id}`} role="option" aria-selected=${selected.has(id)} aria-label=${name(id)}
      aria-setsize=${items.length} aria-posinset=${i + 1}
      class=${`cell${selected.has(id) ? " selected" : ""}${i === current ? " current" : ""}`}
      style=${{ transform: `translate(${c * (cell + GAP)}px, ${r * row}px)`, width: `${cell}px`, height: `${cell}px` }}
      onClick=${(event) => onToggle(i, { toggle: event.ctrlKey || event.metaKey, range: event.shiftKey })}
      onDblClick=${() => onKey?.({ key: "Enter", preventDefault() {} })}>
      <img src=${thumbnail(id)} alt="" loading="eager" decoding="async" draggable=${false} />
      ${caption && html`<span class="caption">${caption(id)}</span>`}
    </div>`);
  }
  return html`<div class="grid" ref=${ref} role="listbox" aria-multiselectable="true" aria-label=${label} tabindex="0"
      aria-activedescendant=${current != null && items[current] != null ? `photo-${items[current]}` : undefined}
      onScroll=${(event) => setTop(Math.floor(event.currentTarget.scrollTop / row))} onKeyDown=${key}>
    <div style=${{ height: `${rows * row}px`, position: "relative" }}>${cells}</div>
  </div>`;
}

// A live picture of the camera. onReady(video) once it plays.
export function Camera({ onReady, onFail }) {
  const ref = useRef();
  useEffect(() => {
    let stream, gone = false;
    (navigator.mediaDevices?.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } }) ?? Promise.reject())
      .then((found) => {
        stream = found;
        if (gone) return found.getTracks().forEach((track) => track.stop());
        ref.current.srcObject = found;
        return ref.current.play().then(() => onReady(ref.current));
      }).catch(() => !gone && onFail());
    return () => { gone = true; stream?.getTracks().forEach((track) => track.stop()); };
  }, []);
  return html`<video ref=${ref} playsinline muted></video>`;
}

// The video's picture as a JPEG.
export function frame(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((yes) => canvas.toBlob(yes, "image/jpeg", 0.9));
}

export function Bars({ probabilities, most = 6 }) {
  const sorted = Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, most);
  return html`<ul class="bars">${sorted.map(([label, p], i) => html`<li class=${i ? "" : "best"}>
    <span>${label}</span><span>${(100 * p).toFixed(0)} %</span><progress max="1" value=${p} aria-label=${label}></progress></li>`)}</ul>`;
}

// Accuracy by epoch as an SVG; rows: [{epoch, train, val}], with the two names.
export function Curves({ rows, names }) {
  if (rows.length < 2) return null;
  const W = 420, H = 180, left = 36, bottom = 24;
  const x = (e) => left + (W - left - 8) * (e - rows[0].epoch) / Math.max(1, rows[rows.length - 1].epoch - rows[0].epoch);
  const y = (v) => 8 + (H - bottom - 8) * (1 - v);
  const line = (key) => rows.filter((r) => r[key] != null).map((r, i) => `${i ? "L" : "M"}${x(r.epoch).toFixed(1)} ${y(r[key]).toFixed(1)}`).join("");
  return html`<svg class="curves" viewBox=${`0 0 ${W} ${H}`} role="img" aria-label=${`${names.join(", ")}: ${rows.length}`}>
    ${[0, 0.5, 1].map((v) => html`<g><line x1=${left} x2=${W - 8} y1=${y(v)} y2=${y(v)} class="rule" /><text x="4" y=${y(v) + 4}>${v * 100} %</text></g>`)}
    <path d=${line("train")} class="dashed" /><path d=${line("val")} class="solid" />
    <text x=${left} y=${H - 6}>${`– – ${names[0]}   — ${names[1]}`}</text>
  </svg>`;
}
