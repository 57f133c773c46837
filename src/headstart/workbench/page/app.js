// The page: which project, which step, and what all steps share.
import { html, render, useCallback, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { of } from "./api.js";
import { T, photosText } from "./text.js";
import { Problem } from "./ui.js";
import { Home } from "./views/home.js";
import { Photos } from "./views/photos.js";
import { Problems } from "./views/problems.js";
import { Train } from "./views/train.js";
import { Results } from "./views/results.js";
import { Try } from "./views/try.js";
import { Next } from "./views/next.js";
import { Export } from "./views/export.js";

const VIEWS = { photos: Photos, problems: Problems, train: Train, results: Results, try: Try, next: Next, export: Export };
const place = () => {
  try { return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent); } catch { return [""]; }  // a stray %
};

function App() {
  const [[name, step], setPlace] = useState(place);
  useEffect(() => {
    const moved = () => setPlace(place());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return name ? html`<${Project} key=${name} name=${name} step=${VIEWS[step] ? step : "photos"} />` : html`<${Home} />`;
}

// What is known of a project, kept up to date by its events.
function useProject(name) {
  const api = useRef(of(name)).current;
  const [about, setAbout] = useState(null);
  const [photos, setPhotos] = useState(null);
  const [job, setJob] = useState(null);
  const [events, setEvents] = useState([]);
  const [lost, setLost] = useState(false);
  const [error, setError] = useState(null);
  const seen = useRef(0);
  const refresh = useCallback(async () => {
    try {
      const [told, found] = await Promise.all([api.get(""), api.get("photos")]);
      if (found.revision < seen.current) return;  // an older answer that came late
      seen.current = found.revision;
      api.id = told.id;
      const labels = new Map(found.ids.map((id, i) => [id, found.labels[i]]));
      const names = new Map(found.ids.map((id, i) => [id, found.names[i]]));
      setPhotos({ ids: found.ids, labels, names, out: new Set(found.left_out) });
      setAbout(told);
    } catch (failed) { setError(failed); }
  }, []);
  // What a change does to photos, shown before the server has answered.
  const apply = useCallback((ids, { do: what, label }) => setPhotos((before) => {
    const labels = new Map(before.labels), out = new Set(before.out);
    for (const id of ids) {
      if (what === "label") { labels.set(id, label); out.delete(id); }
      if (what === "leave_out") out.add(id);
      if (what === "bring_back") out.delete(id);
    }
    return { ...before, labels, out };
  }), []);
  const [attempts, setAttempts] = useState(0);
  useEffect(() => {
    let revision = null, number = null, state = null;
    const source = api.events();
    source.addEventListener("state", ({ data }) => {
      const told = JSON.parse(data);
      setLost(false);
      setJob(told.job);
      if (told.job?.job !== number) { number = told.job?.job; setEvents([]); }
      if (told.revision !== revision || told.job?.state !== state) { revision = told.revision; state = told.job?.state; refresh(); }
    });
    source.addEventListener("job-events", ({ data }) => {
      const told = JSON.parse(data);
      if (told.job !== number) { number = told.job; setEvents(told.events); }
      else setEvents((before) => [...(told.events.some((e) => e.is === "progress") ? before.filter((e) => e.is !== "progress") : before), ...told.events]);
    });
    let again = null;
    source.onerror = () => {
      setLost(true);
      if (source.readyState === 2) again = setTimeout(() => setAttempts((n) => n + 1), 2000);  // the browser does not try again
    };
    source.onopen = () => { setLost(false); setEvents([]); revision = null; };
    return () => { clearTimeout(again); source.close(); };
  }, [attempts]);
  return { name, api, about, photos, job, events, lost, error, setError, refresh, apply };
}

function Project({ name, step }) {
  const project = useProject(name);
  const { about, photos, job, events, lost, error, setError, api } = project;
  const [said, setSaid] = useState("");
  const say = (text) => { setSaid(text); clearTimeout(say.timer); say.timer = setTimeout(() => setSaid(""), 5000); };
  const attempt = async (work) => { try { setError(null); return await work(); } catch (failed) { setError(failed); } };
  const undo = () => attempt(async () => { const told = await api.post("undo"); say(T.undone(told.undone)); });
  const running = job && ["starting", "running"].includes(job.state);
  useEffect(() => {
    const key = (event) => {
      if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z" && !document.activeElement.matches("textarea, input:not([type=checkbox])")) {
        event.preventDefault();
        undo();
      }
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);
  useEffect(() => {
    document.title = `${name} · ${T.studio}`;
    attempt(() => api.post("catch-up"));  // what was changed elsewhere
  }, [name]);
  const View = VIEWS[step];
  return html`<div class="frame">
    <header class="top">
      <a class="brand" href="#/" aria-label=${T.projects}>headstart</a>
      <h1>${name}</h1>
      <span class="soft grow">${about && photosText(photos.ids.length)}</span>
      <button type="button" class="small" onClick=${undo} disabled=${!about?.history.length}>${T.undo}</button>
    </header>
    <nav aria-label="Steps"><ol>${Object.entries(T.steps).map(([key, words]) => html`<li>
      <a href=${`#/${encodeURIComponent(name)}/${key}`} aria-current=${key === step ? "page" : undefined}>${words}</a></li>`)}</ol></nav>
    <main>
      ${lost && html`<p class="message" role="alert">${T.lost}</p>`}
      <${Problem} error=${error} onClose=${about ? () => setError(null) : null} />
      ${about && html`<${View} key=${step} project=${project} attempt=${attempt} say=${say} running=${running} />`}
      ${!about && !error && html`<p class="soft">${T.loading}</p>`}
    </main>
    <footer class="status"><${Status} project=${project} running=${running} attempt=${attempt} /><span class="toast" role="status" aria-live="polite">${said}</span></footer>
  </div>`;
}

// The job that runs, wherever one is.
function Status({ project, running, attempt }) {
  const { job, events, api } = project;
  if (!running) return null;
  const last = events.findLast((event) => event.is === "progress");
  const note = last ? `${last.task} ${last.done} / ${last.total}${last.seconds_left ? `, ${T.train.left(last.seconds_left)}` : ""}` : "";
  return html`<div class="row grow"><strong>${T.train.kinds[job.kind]}</strong>
    <progress max=${last?.total ?? 1} value=${last ? last.done : undefined} aria-label=${T.train.kinds[job.kind]}></progress>
    <span class="soft">${note}</span>
    <button type="button" class="small" onClick=${() => attempt(() => api.post(`jobs/${job.job}/stop`))}>${T.stop}</button></div>`;
}

document.getElementById("app").replaceChildren();
render(html`<${App} />`, document.getElementById("app"));
