// Training: one button, the plan with its reasons, curves as they come.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { T } from "../text.js";
import { Command, Curves } from "../ui.js";

const KINDS = ["train", "resume"];
const NETWORKS = ["resnet18", "resnet50", "tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv3_large_100", "convnext_tiny", "auto", "starter"];

export function Train({ project, attempt, running }) {
  const { about, api, job, name } = project;
  const [options, setOptions] = useState(about.training ?? {});
  const latest = useRef(options);
  const ready = about.classes.filter((one) => one.photos > 0).length > 1;
  const now = job && KINDS.includes(job.kind) ? job : null;
  const [before, setBefore] = useState(null);  // the last training, where another job came after it
  useEffect(() => {
    if (now) return;
    attempt(async () => {
      const last = (await api.get("jobs")).jobs.find((one) => KINDS.includes(one.kind));
      setBefore(last ? { ...last, events: (await api.get(`jobs/${last.job}/events`)).events } : null);
    });
  }, [job?.job]);
  const mine = now ?? before;
  const save = (key, value) => {
    const now = { ...latest.current, [key]: value };  // two fields may change before the page is drawn again
    if (value === "" || value == null) delete now[key];
    latest.current = now;
    setOptions(now);
  };
  const keep = () => attempt(() => api.post("settings", { training: latest.current }).then(project.refresh));
  const train = () => attempt(() => keep().then(() => api.post("jobs", { kind: "train", options: latest.current })));
  const events = now ? project.events : before?.events ?? [];
  const plan = events.find((event) => event.is === "table" && event.columns.length === 3);
  const epochs = events.filter((event) => event.is === "epoch").map((e) => ({ epoch: e.epoch, train: e.train_accuracy, val: e.val_accuracy }));
  const log = events.filter((event) => ["message", "warning"].includes(event.is));
  const run = mine && (mine.options.run ?? (mine.options.auto ? "auto" : `run-${mine.job}`));
  const unfinished = mine && ["stopped", "interrupted"].includes(mine.state) && about.runs.includes(run);
  return html`<section>
    <div class="row"><button type="button" class="primary big" disabled=${running || !ready} onClick=${train}>${T.train.train}</button>
      <label class="row"><input type="checkbox" checked=${about.auto} onChange=${(e) => attempt(() => api.post("settings", { auto: e.target.checked }).then(project.refresh))} /> ${T.train.auto}</label></div>
    <p class="soft">${ready ? T.train.about : T.train.few}</p>
    <details class="card"><summary>${T.train.options}</summary><div class="columns">
      <label>${T.train.backbone}<input list="networks" value=${options.backbone ?? ""} placeholder="resnet18" onInput=${(e) => save("backbone", e.target.value.trim())} onChange=${keep} />
        <datalist id="networks">${NETWORKS.map((one) => html`<option value=${one}></option>`)}</datalist></label>
      <label>${T.train.weights}<input value=${options.weights ?? ""} onInput=${(e) => save("weights", e.target.value.trim())} onChange=${keep} /></label>
      <label>${T.train.strategy}<select value=${options.strategy ?? "auto"} onChange=${(e) => { save("strategy", e.target.value); keep(); }}>
        ${Object.entries(T.train.strategies).map(([key, words]) => html`<option value=${key}>${words}</option>`)}</select></label>
    </div></details>
    ${mine && html`<article class="card" aria-live="polite">
      <h2>${T.train.kinds[mine.kind]}: ${T.train.states[mine.state]}</h2>
      ${mine.state === "failed" && html`<p class="message" role="alert"><strong>${mine.error}</strong> ${mine.hint}</p>
        ${mine.lines?.length > 0 && html`<ul>${mine.lines.map((line) => html`<li>${line}</li>`)}</ul>`}`}
      ${mine.state === "interrupted" && html`<p>${T.train.interrupted}</p>`}
      ${unfinished && html`<button type="button" class="primary" onClick=${() => attempt(() => api.post("jobs", { kind: "resume", options: { run } }))}>${T.resume}</button>`}
      ${mine.state === "done" && html`<p><a class="button primary" href=${`#/${encodeURIComponent(name)}/results`}>${T.train.see}</a></p>`}
      <${Curves} rows=${epochs} names=${[T.train.training, T.train.validation]} />
      ${plan && html`<details><summary>${T.train.plan}</summary><table><tbody>${plan.rows.map((row) => html`<tr>${row.map((cell) => html`<td>${String(cell)}</td>`)}</tr>`)}</tbody></table></details>`}
      ${log.length > 0 && html`<details open=${mine.state === "failed"}><summary>${T.train.log}</summary><ul class="log">${log.map((event) => html`<li class=${event.is}>${event.text}</li>`)}</ul></details>`}
    </article>`}
    <${Command} words=${`headstart train ${about.table}${Object.entries(options).map(([key, value]) => ` --${key} ${value}`).join("")}`} />
  </section>`;
}
