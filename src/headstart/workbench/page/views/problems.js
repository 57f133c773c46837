// What check found, as cards that are settled one at a time or all at once.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { T } from "../text.js";
import { Command, network } from "../ui.js";

// The class that check proposes for a photo, where it does.
function suggested(finding, case_, names) {
  const words = finding.kind === "label" ? /^looks like (.*) \(\d\.\d+\)$/.exec(case_.words) : null;
  return words && names.includes(words[1]) && words[1] !== case_.photos[0].label ? words[1] : null;
}

export function Problems({ project, attempt, running }) {
  const { about, api, job } = project;
  const [found, setFound] = useState(null);
  useEffect(() => { attempt(async () => setFound(await api.get("findings"))); }, [about.revision, job?.state]);
  const check = () => attempt(() => api.post("jobs", { kind: "check", options: network(about.training) }));
  const settled = found?.findings && found.findings.every((finding) => !finding.cases.length && !finding.files.length);
  return html`<section>
    <div class="row"><button type="button" class="primary" disabled=${running} onClick=${check}>${found?.job ? T.problems.again : T.problems.check}</button>
      <span class="soft">${running && job.kind === "check" ? T.problems.running : T.problems.about}</span></div>
    ${job?.kind === "check" && job.state === "failed" && html`<p class="message" role="alert"><strong>${job.error}</strong> ${job.hint}</p>`}
    ${found?.findings && html`
      ${found.findings.length === 0 ? html`<p>${T.problems.fine}</p>` : settled && html`<p>${T.problems.settled}</p>`}
      ${found.findings.map((finding) => html`<${Finding} key=${finding.kind + finding.sentence} finding=${finding} project=${project} attempt=${attempt} />`)}
      <p><a href=${api.file(`.studio/jobs/${String(found.job).padStart(4, "0")}/check.html`)} target="_blank">${T.problems.report}</a></p>`}
    <${Command} words=${`headstart check ${about.table}`} />
  </section>`;
}

function Finding({ finding, project, attempt }) {
  const { about, api } = project;
  const [at, setAt] = useState(0);
  const names = about.classes.map((one) => one.name);
  const [settled, setSettled] = useState(new Set());  // at once, before the server has answered: no key meets one twice
  const name_ = (one) => one.photos.map((photo) => photo.path).join();
  const cases = finding.cases.filter((one) => !settled.has(name_(one)));
  useEffect(() => { if (about.history[0]?.undoes) setSettled(new Set()); }, [about.revision]);
  const i = Math.min(at, cases.length - 1);
  const case_ = cases[i];
  const ids = (one) => one.photos.map((photo) => photo.id).filter((id) => id != null);
  const change = (body, on) => {
    const touched = cases.filter((one) => ids(one).some((id) => on.includes(id)));
    setSettled(new Set([...settled, ...touched.map(name_)]));
    return attempt(() => api.post("change", { ...body, ids: on })).then((done) => { if (!done?.changed) setSettled(new Set()); });
  };
  const keep = (on) => change({ do: "keep", finding: finding.kind }, on);
  const out = (on) => change({ do: "leave_out" }, on);
  const every = cases.flatMap(ids);
  const copies = cases.flatMap((one) => ids(one).slice(1));
  const double = case_?.photos.length > 1;
  const guess = case_ && suggested(finding, case_, names);
  const relabelAll = () => attempt(async () => {
    const by = new Map();
    for (const one of cases) {
      const label = suggested(finding, one, names);
      if (label) by.set(label, [...(by.get(label) ?? []), ...ids(one)]);
    }
    for (const [label, on] of by) await api.post("change", { do: "label", label, ids: on });
  });
  const key = (event) => {
    if (!case_ || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") return;
    if (event.key === "ArrowRight") setAt(Math.min(i + 1, cases.length - 1));
    else if (event.key === "ArrowLeft") setAt(Math.max(0, i - 1));
    else if ((event.key === "y" || event.key === "Enter") && guess && event.target === event.currentTarget) change({ do: "label", label: guess }, ids(case_));
    else if (event.key === "k") keep(ids(case_));
    else if (event.key === "x") out(double ? ids(case_).slice(1) : ids(case_));
    else if (/^[1-9]$/.test(event.key) && names[event.key - 1]) change({ do: "label", label: names[event.key - 1] }, ids(case_));
    else return;
    event.preventDefault();
  };
  if (finding.cases.length && !cases.length && !finding.files.length) return null;  // all are settled
  return html`<article class=${`card finding ${finding.severity}`} tabindex="0" onKeyDown=${key} aria-label=${finding.sentence}>
    <h2><span class="tag">${T.problems.severity[finding.severity]}</span> ${finding.sentence}</h2>
    ${finding.advice && html`<p class="soft">${finding.advice}</p>`}
    ${case_ && html`<div class="row top-aligned">
        <div class="pictures">${case_.photos.map((photo) => html`<figure key=${photo.path}>
          ${photo.id != null && html`<a href=${api.photo(photo.id)} target="_blank"><img src=${api.thumbnail(photo.id)} alt=${photo.name} /></a>`}
          <figcaption>${photo.label}<br /><span class="soft" title=${photo.path}>${photo.name}</span></figcaption></figure>`)}</div>
        <div class="choices"><p>${case_.words}</p>
          <div class="row">
            <button type="button" class="small" onClick=${() => keep(ids(case_))}>${T.problems.keep}</button>
            ${guess && html`<button type="button" class="small" onClick=${() => change({ do: "label", label: guess }, ids(case_))}>${T.problems.relabel(guess)}</button>`}
            <select aria-label=${T.problems.other} value="" onChange=${(event) => event.target.value && change({ do: "label", label: event.target.value }, ids(case_))}>
              ${["", ...names].map((name) => html`<option key=${name} value=${name}>${name || `${T.problems.other}…`}</option>`)}</select>
            <button type="button" class="small" onClick=${() => out(double ? ids(case_).slice(1) : ids(case_))}>${T.problems.leaveOut}</button>
          </div>
          <div class="row"><button type="button" class="small" aria-label="previous" onClick=${() => setAt(Math.max(0, i - 1))}>‹</button>
            <span>${T.problems.of(i + 1, cases.length)}</span>
            <button type="button" class="small" aria-label="next" onClick=${() => setAt(Math.min(i + 1, cases.length - 1))}>›</button></div>
        </div></div>
      ${cases.length > 1 && html`<div class="row">
        <button type="button" class="small" onClick=${() => keep(every)}>${T.problems.keepAll}</button>
        ${guess && html`<button type="button" class="small" onClick=${relabelAll}>${T.problems.relabelAll}</button>`}
        <button type="button" class="small" onClick=${() => out(copies.length ? copies : every)}>${T.problems.leaveAll}</button></div>`}
      <p class="soft keys">${T.problems.keys}</p>`}
    ${finding.files.length > 0 && html`<details><summary>${T.problems.files}: ${finding.files.length}</summary>
      <ul>${finding.files.slice(0, 100).map((file) => html`<li>${file.path}: ${file.reason}</li>`)}</ul></details>`}
  </article>`;
}
