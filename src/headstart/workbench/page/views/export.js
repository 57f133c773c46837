// The model and its papers, to take away.
import { html, useState } from "../vendor/preact-htm.js";
import { T } from "../text.js";
import { Command } from "../ui.js";
import { Chooser, useRuns } from "./results.js";

export function Export({ project, attempt, running }) {
  const { api, job } = project;
  const { runs, run, choose } = useRuns(project, attempt);
  const [format, setFormat] = useState("onnx");
  if (runs && !run) return html`<p>${T.results.none}</p>`;
  if (!run) return html`<p class="soft">${T.loading}</p>`;
  const mine = job?.kind === "export" ? job : null;
  return html`<section>
    <p>${T.export.about}</p>
    <${Chooser} runs=${runs} run=${run} choose=${choose} />
    <div class="row"><select aria-label=${T.steps.export} value=${format} onChange=${(event) => setFormat(event.target.value)}>
      ${Object.entries(T.export.formats).map(([key, words]) => html`<option value=${key}>${words}</option>`)}</select>
      <button type="button" class="primary" disabled=${running} onClick=${() => attempt(() => api.post("jobs", { kind: "export", options: { run: run.run, format } }))}>${T.export.make}</button></div>
    ${mine && html`<article class="card"><h2>${T.train.kinds.export}: ${T.train.states[mine.state]}</h2>
      ${mine.error && html`<p class="message" role="alert"><strong>${mine.error}</strong> ${mine.hint}</p>`}
      ${mine.result && html`<a class="button primary" href=${api.file(mine.result.path)} download>${T.export.download}: ${mine.result.path.split("/").pop()}</a>`}</article>`}
    <ul class="plain">
      <li><a href=${api.file(`runs/${run.run}/report.html`)} target="_blank">${T.export.report}</a></li>
      <li><a href=${api.file(`runs/${run.run}/MODEL_CARD.md`)} download>${T.export.card}</a></li>
      <li><a href=${api.file(`runs/${run.run}/model.safetensors`)} download>${T.export.weights}</a></li></ul>
    <${Command} words=${`headstart export ${run.place} --format ${format}`} />
    <h2>${T.export.serve}</h2><p>${T.export.serveHelp}</p><pre>headstart serve ${run.place}</pre>
  </section>`;
}
