// The list of projects, and new ones.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { get, post } from "../api.js";
import { T } from "../text.js";
import { Problem } from "../ui.js";

export function Home() {
  const [told, setTold] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => { document.title = T.studio; get("api/projects").then(setTold, setError); }, []);
  const open = async (body) => {
    setBusy(true);
    try { location.hash = `#/${encodeURIComponent((await post("api/projects", body)).name)}`; } catch (failed) { setError(failed); }
    setBusy(false);
  };
  const submit = (field) => (event) => { event.preventDefault(); open({ [field]: new FormData(event.target).get(field) }); };
  return html`<div class="home">
    <header><h1>${T.studio}</h1><p class="soft">${T.home.about}</p></header>
    <main>
      <${Problem} error=${error} onClose=${() => setError(null)} />
      <section><h2>${T.home.title}</h2>
        ${told && (told.projects.length
          ? html`<ul class="projects">${told.projects.map((name) => html`<li><a class="card" href=${`#/${encodeURIComponent(name)}`}>${name}</a></li>`)}</ul>`
          : html`<p class="soft">${T.home.none}</p>`)}
      </section>
      <div class="columns">
        <form class="card" onSubmit=${submit("name")}><h2>${T.home.new}</h2>
          <label>${T.home.name}<input name="name" required maxlength="80" autocomplete="off" /></label>
          <button class="primary" disabled=${busy}>${T.home.create}</button></form>
        <form class="card" onSubmit=${submit("data")}><h2>${T.home.existing}</h2>
          <label>${T.home.path}<input name="data" required autocomplete="off" spellcheck=${false} /></label>
          <p class="soft">${T.home.existingHelp}</p>
          <button disabled=${busy}>${T.open}</button></form>
        <div class="card"><h2>${T.home.sample}</h2><p class="soft">${T.home.sampleHelp}</p>
          <button type="button" disabled=${busy} onClick=${() => open({ sample: true })}>${T.open}</button></div>
      </div>
      ${told && html`<p class="soft">${T.home.where(told.home)}</p>`}
    </main>
  </div>`;
}
