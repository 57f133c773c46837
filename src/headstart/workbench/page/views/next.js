// Photos without a class, those first that teach most: accepted by one key, look-alikes at once.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { T } from "../text.js";
import { Command, network } from "../ui.js";

export function Next({ project, attempt, running }) {
  const { about, api, job } = project;
  const [told, setTold] = useState(null);
  const [skipped, setSkipped] = useState(new Set());
  const [alike, setAlike] = useState(new Set());  // look-alikes that get the same label
  const card = useRef(null);
  const revision = useRef(about.revision);
  useEffect(() => {
    attempt(async () => setTold(await api.get("suggestions")));
    if (about.history[0]?.undoes && about.revision !== revision.current) setSkipped(new Set());  // what was undone is asked again
    revision.current = about.revision;
  }, [about.revision, job?.state]);
  const groups = (told?.groups ?? []).filter((group) => !skipped.has(group[0].id));
  const group = groups[0];
  const key = group?.[0].id;
  useEffect(() => { setAlike(new Set(group?.slice(1).map((one) => one.id) ?? [])); card.current?.focus(); }, [key, group?.length]);
  const names = about.classes.map((one) => one.name);
  const ready = about.classes.filter((one) => one.photos > 0).length > 1;
  const skip = () => setSkipped(new Set([...skipped, key]));
  const label = (name) => {
    skip();  // at once: the next key must not meet the same photo
    return attempt(() => api.post("change", { do: "label", label: name, ids: [key, ...alike] })).then((done) => { if (!done) setSkipped(skipped); });
  };
  const out = () => { skip(); return attempt(() => api.post("change", { do: "leave_out", ids: [key] })); };
  const press = (event) => {
    if (!group || event.ctrlKey || event.metaKey || /INPUT|SELECT|BUTTON|^A$/.test(event.target.tagName)) return;
    if (event.key === "Enter" || event.key === "y") label(group[0].label);
    else if (/^[1-9]$/.test(event.key) && names[event.key - 1]) label(names[event.key - 1]);
    else if (event.key === "s") skip();
    else if (event.key === "x") out();
    else return;
    event.preventDefault();
  };
  const rank = () => attempt(async () => { setSkipped(new Set()); await api.post("jobs", { kind: "suggest", options: network(about.training) }); });
  const toggle = (id) => setAlike((before) => { const after = new Set(before); if (!after.delete(id)) after.add(id); return after; });
  const failed = job?.kind === "suggest" && job.state === "failed" ? job : null;
  return html`<section>
    <p>${T.next.about}</p>
    ${about.unlabelled === 0 && html`<p>${T.next.none}</p>`}
    ${about.unlabelled > 0 && !ready && html`<p>${T.next.needs}</p>`}
    <div class="row"><button type="button" class=${group ? "" : "primary"} disabled=${running || !ready || !about.unlabelled} onClick=${rank}>${T.next.rank}</button>
      ${groups.length > 0 && html`<span class="soft" role="status">${T.next.left(groups.length)}</span>`}</div>
    ${failed && html`<p class="message" role="alert"><strong>${failed.error}</strong> ${failed.hint}</p>`}
    ${told?.groups && !groups.length && about.unlabelled > 0 && !running && html`<p>${T.next.done}</p>`}
    ${group && html`<article class="card" tabindex="0" ref=${card} onKeyDown=${press} aria-label=${T.next.suggestion(group[0].label, group[0].confidence)}>
      <div class="row top-aligned">
        <a href=${api.photo(key)} target="_blank"><img class="large" src=${api.photo(key)} alt=${group[0].path.split(/[\\/]/).pop()} /></a>
        <div class="choices"><h2>${T.next.suggestion(group[0].label, group[0].confidence)}</h2>
          <p class="soft">${T.next.why[group[0].why] ?? group[0].why}</p>
          <div class="row"><button type="button" class="primary" onClick=${() => label(group[0].label)}>${T.next.accept(group[0].label)}</button>
            ${names.map((name, i) => name === group[0].label ? "" : html`<button type="button" onClick=${() => label(name)}>${i < 9 ? html`<kbd>${i + 1}</kbd> ` : ""}${name}</button>`)}
            <button type="button" onClick=${skip}>${T.next.skip}</button>
            <button type="button" onClick=${out}>${T.photos.leaveOut}</button></div>
          ${group.length > 1 && html`<fieldset><legend>${T.next.alike}</legend><div class="pictures">${group.slice(1).map((one) => html`<label class="near" key=${one.id}>
            <img src=${api.thumbnail(one.id)} alt=${one.path.split(/[\\/]/).pop()} /><input type="checkbox" checked=${alike.has(one.id)} onChange=${() => toggle(one.id)} /></label>`)}</div></fieldset>`}
        </div></div>
      <p class="soft keys">${T.next.keys}</p></article>`}
    <${Command} words=${`headstart suggest ${about.table} UNLABELLED`} />
  </section>`;
}
