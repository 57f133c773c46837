// How good the model is: headline with interval, confusions that open their photos, mistakes.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { T, percent } from "../text.js";
import { Command, Curves, Dialog, network } from "../ui.js";

export function useRuns(project, attempt) {
  const { api, about, job } = project;
  const [runs, setRuns] = useState(null);
  const [chosen, choose] = useState(null);
  useEffect(() => { attempt(async () => setRuns((await api.get("runs")).runs.filter((run) => run.finished))); }, [about.runs.join(), job?.state]);
  const run = runs?.find((one) => one.run === chosen) ?? runs?.[0];
  return { runs, run, choose };
}

export function Chooser({ runs, run, choose }) {
  return html`<label class="row">${T.results.run}<select value=${run.run} onChange=${(event) => choose(event.target.value)}>
    ${runs.map((one) => html`<option value=${one.run}>${one.run}: ${percent(one.value)}</option>`)}</select></label>`;
}

export function Results({ project, attempt, running }) {
  const { api, about, job } = project;
  const { runs, run, choose } = useRuns(project, attempt);
  const [told, setTold] = useState(null);
  const [cell, setCell] = useState(null);
  useEffect(() => { if (run) attempt(async () => setTold(await api.get(`runs/${run.run}`))); }, [run?.run]);
  if (runs && !run) return html`<p>${T.results.none}</p>`;
  if (!told || told.run !== run?.run) return html`<p class="soft">${T.loading}</p>`;
  const extra = job && ["forecast", "compare"].includes(job.kind) ? job : null;
  return html`<section>
    <${Chooser} runs=${runs} run=${run} choose=${choose} />
    <h2 class="headline">${(told.measure === "accuracy" ? T.results.right : T.results.balanced)(told.value, told.photos, told.on)}</h2>
    <p>${T.results.interval(told.low, told.high)} ${told.on === "validation" ? T.results.chosen : ""}</p>
    <h2>${T.results.confusion}</h2>
    <${Confusion} confusion=${told.confusion} onCell=${(t, p) => setCell({ true: t, predicted: p })} />
    <h2>${T.results.mistakes}</h2>
    <${Mistakes} key=${run.run + about.revision} query="" run=${run.run} project=${project} attempt=${attempt} most=${24} />
    <h2>${T.results.perClass}</h2>
    <div class="scroll"><table><thead><tr>${T.results.columns.map((one) => html`<th scope="col">${one}</th>`)}</tr></thead><tbody>${told.classes.map((row) => html`<tr>
      <th scope="row">${row.label}</th>${[row.precision, row.recall, row.f1].map((v) => html`<td>${v.toFixed(3)}</td>`)}<td>${row.support}</td></tr>`)}</tbody></table></div>
    <${Curves} rows=${told.history.map((e) => ({ epoch: e.epoch, train: e.train_accuracy, val: e.val_accuracy }))} names=${[T.train.training, T.train.validation]} />
    <div class="row"><button type="button" disabled=${running} onClick=${() => attempt(() => api.post("jobs", { kind: "forecast", options: { run: run.run } }))}>${T.results.forecast}</button><span class="soft">${T.results.forecastHelp}</span></div>
    <div class="row"><button type="button" disabled=${running} onClick=${() => attempt(() => api.post("jobs", { kind: "compare", options: network(about.training) }))}>${T.results.compare}</button><span class="soft">${T.results.compareHelp}</span></div>
    ${extra && html`<article class="card"><h2>${T.train.kinds[extra.kind]}: ${T.train.states[extra.state]}</h2>
      ${extra.error && html`<p class="message"><strong>${extra.error}</strong> ${extra.hint}</p>`}
      ${extra.result?.text && html`<pre>${extra.result.text}</pre>`}</article>`}
    <p><a href=${api.file(`runs/${run.run}/report.html`)} target="_blank">${T.results.report}</a></p>
    <details><summary>${T.results.plan}</summary><table><tbody>${told.plan.map((row) => html`<tr>${row.map((one) => html`<td>${String(one)}</td>`)}</tr>`)}</tbody></table></details>
    <${Command} words=${told.command} />
    ${cell && html`<${Dialog} title=${T.results.cell(cell.true, cell.predicted)} onClose=${() => setCell(null)}>
      <${Mistakes} key=${about.revision} query=${`?true=${encodeURIComponent(cell.true)}&predicted=${encodeURIComponent(cell.predicted)}`} run=${run.run} project=${project} attempt=${attempt} most=${300} /></${Dialog}>`}
  </section>`;
}

function Confusion({ confusion, onCell }) {
  const { names, table, pairs } = confusion;
  if (!table) return html`<ul>${pairs.slice(0, 30).map(([t, p, count]) => html`<li><button type="button" class="small" onClick=${() => onCell(t, p)}>${T.results.cell(t, p)}: ${count}</button></li>`)}</ul>`;
  const rows = table.map((row) => Math.max(1, row.reduce((a, b) => a + b, 0)));
  return html`<p class="soft">${T.results.confusionHelp}</p><div class="scroll"><table class="confusion">
    <thead><tr><th scope="col">${T.results.true} ╲ ${T.results.predicted}</th>${names.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
    <tbody>${table.map((row, i) => html`<tr><th scope="row">${names[i]}</th>${row.map((count, j) => html`<td>
      <button type="button" class=${i === j ? "right" : count ? "wrong" : "none"} style=${{ "--share": (count / rows[i]).toFixed(3) }} disabled=${!count}
        aria-label=${`${T.results.cell(names[i], names[j])}: ${count}`} onClick=${() => onCell(names[i], names[j])}>${count}</button></td>`)}</tr>`)}</tbody></table></div>`;
}

function Mistakes({ query, run, project, attempt, most }) {
  const { api, about, photos } = project;
  const [told, setTold] = useState(null);
  useEffect(() => { attempt(async () => setTold(await api.get(`runs/${run}/photos${query}`))); }, []);
  if (!told) return html`<p class="soft">${T.loading}</p>`;
  if (!told.photos.length) return html`<p>${T.results.noMistakes}</p>`;
  const change = (body, id) => attempt(() => api.post("change", { ...body, ids: [id] }));
  return html`<ul class="mistakes">${told.photos.slice(0, most).map((one) => html`<li class="card" key=${one.path}>
    ${one.id != null && html`<a href=${api.photo(one.id)} target="_blank"><img src=${api.thumbnail(one.id)} alt=${one.path.split(/[\\/]/).pop()} loading="lazy" /></a>`}
    <p><strong>${one.id != null ? photos.labels.get(one.id) ?? one.label : one.label}</strong><br />${T.results.said(one.predicted, one.confidence)}</p>
    ${one.id != null && html`<select aria-label=${`${T.problems.other}: ${one.path.split(/[\\/]/).pop()}`} onChange=${(event) => change({ do: "label", label: event.target.value }, one.id)}>
      ${about.classes.map((cls) => html`<option key=${cls.name} value=${cls.name} selected=${cls.name === (photos.labels.get(one.id) ?? one.label)}>${cls.name}</option>`)}</select>`}</li>`)}</ul>`;
}
