// The page of serve, where photos go to /predict one by one, a few at a time, and nothing leaves this server; and of
// export --format web, whose local.js computes in the browser and is asked in place of a server.
"use strict";

const AT_A_TIME = 4;
const SHOWN = 5; // classes per photo
const $ = (id) => document.getElementById(id);
const rows = []; // {file, label, probability, probabilities, unknown, distance} or {file, problem}, in the order of the cards
let model = { classes: [], explains: false, limits: {} };
let waiting = [];
let atWork = 0;
let stream = null;
let key = ""; // in memory only: other pages of this host, and the next visitor, do not find it

// Headers with the key; a header holds no other characters, and the server has no such key.
const headers = () => (/^[\x21-\x7e]+$/.test(key) ? { "X-API-Key": key } : {});

async function start() {
  try {
    if (window.local) model = await window.local.about();
    else {
      const response = await fetch("model", { headers: headers() });
      if (response.status === 401) return lock();
      model = await response.json();
      lock(false);
    }
  } catch (error) {
    if (window.local) $("about").textContent = "";
    return say(window.local ? error.message : "The server does not answer. Is headstart serve still running?");
  }
  $("name").textContent = model.name;
  const figure = model.figures.test || model.figures.folds || model.figures.val;
  const leads = { "balanced accuracy": "balanced_accuracy", "mean average precision": "map", "micro F1": "f1_micro" }[figure?.headline] || "accuracy";
  const classes = model.classes.length > 12 ? `${model.classes.length} classes` : model.classes.join(", ");
  const right = figure
    ? ` ${figure.headline.charAt(0).toUpperCase()}${figure.headline.slice(1)} on ${figure.photos} ${model.figures.test ? "test" : model.figures.folds ? "out-of-fold" : "validation"} photos: ${(100 * figure[leads].value).toFixed(1)} %.`
    : "";
  $("about").textContent = `A classifier for ${classes}${model.labels ? ", any number of them per photo" : ""}.${right}`;
}

function lock(locked = true) {
  $("lock").hidden = !locked;
  $("main").hidden = locked;
  if (!locked) return;
  $("about").textContent = "";
  $("refused").hidden = !key;
  $("key").value = "";
  $("key").focus();
}

$("lock")?.addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  start();
});

// Text from outside without what moves the cursor, hides, or turns the direction of writing: those characters as \u202e.
// A joiner stays where it changes how an emoji or a word of another script looks.
function shown(text) {
  const joins = (char) => char !== undefined && char > "\x7f" && /[\p{L}\p{M}\p{S}]/u.test(char);
  const characters = [...String(text)];
  return characters.map((char, i) => {
    if (!/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(char)) return char;
    if ("\u200c\u200d".includes(char) && joins(characters[i - 1]) && joins(characters[i + 1])) return char;
    const code = char.codePointAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  }).join("");
}

// -- ways in --

$("choose").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
document.addEventListener("paste", (event) => add(event.clipboardData.files));
document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  add(event.dataTransfer.files);
});

$("camera").addEventListener("click", async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return say("There is no camera here, or this page may not use it (browsers allow it on localhost and https only).");
  }
  $("video").srcObject = stream;
  $("viewfinder").hidden = false;
  await $("video").play();
  $("shoot").focus();
});
$("stop").addEventListener("click", closeCamera);
$("shoot").addEventListener("click", () => {
  const video = $("video"), canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => add([new File([blob], `camera-${rows.length + 1}.jpg`, { type: "image/jpeg" })]), "image/jpeg", 0.92);
});

function closeCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  $("viewfinder").hidden = true;
  $("camera").focus();
}

// -- from a file to a card --

function add(files) {
  const given = [...files];
  if (!given.length || $("main").hidden) return;
  $("message").hidden = true;
  $("results").hidden = false;
  for (const file of given) waiting.push([file, card(file)]);
  work();
}

function card(file) {
  const node = $("card").content.firstElementChild.cloneNode(true);
  const picture = node.querySelector(".photo");
  picture.src = URL.createObjectURL(file);
  picture.alt = shown(file.name);
  picture.addEventListener("error", () => { picture.hidden = true; }); // the server says why
  node.querySelector(".file").textContent = shown(file.name);
  node.querySelector(".file").title = shown(file.name);
  node.querySelector(".label").textContent = "…";
  $("cards").append(node);
  const row = { file: file.name };
  rows.push(row);
  return [node, row];
}

function work() {
  while (atWork < AT_A_TIME && waiting.length) {
    const [file, [node, row]] = waiting.shift();
    atWork += 1;
    name(file, node, row).finally(() => { atWork -= 1; work(); });
  }
  const left = waiting.length + atWork;
  $("progress").textContent = left ? `${left} of ${rows.length} to go` : `${rows.length} ${rows.length === 1 ? "photo" : "photos"}`;
}

async function send(path, file) {
  const form = new FormData();
  form.append("files", file, file.name);
  for (;;) {
    const response = await fetch(path, { method: "POST", body: form, headers: headers() });
    if (response.status !== 429) return response;
    await new Promise((done) => setTimeout(done, 1000 * Number(response.headers.get("Retry-After") || 1)));
  }
}

async function name(file, node, row) {
  if (window.local) {
    const problem = await window.local.predict(file).then((found) => { Object.assign(row, found); }, (error) => error.message);
    return problem ? fail(node, row, problem) : show(node, row, file);
  }
  try {
    const response = await send("predict", file);
    const found = await response.json();
    if (response.status === 401) lock(); // the server has another key since
    if (!response.ok) return fail(node, row, found.error);
    Object.assign(row, found.predictions[0]);
    show(node, row, file);
  } catch {
    fail(node, row, "The server does not answer.");
  }
}

function fail(node, row, problem) {
  row.problem = problem;
  const label = node.querySelector(".label");
  label.textContent = shown(problem);
  label.classList.add("bad");
}

function show(node, row, file) {
  node.querySelector(".label").textContent = words(row);
  node.querySelector(".unknown").hidden = !row.unknown;
  const best = sorted(row);
  node.querySelector(".bars").replaceChildren(...bars(row));
  const look = node.querySelector(".look");
  look.hidden = !model.explains;
  look.addEventListener("click", () => toggle(node, look, file, row.labels ? best.find(([label]) => row.labels.includes(label))?.[0] ?? best[0][0] : row.label));
}

// The most probable classes, the best first.
function bars(row) {
  return sorted(row).map(([label, p], i) => bar(label, p, row.labels ? row.labels.includes(label) : i === 0));
}

function sorted(row) {
  return Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
}

// The class, or the labels where a photo may have several.
const words = (row) => shown(row.labels ? row.labels.join(", ") || "no label" : row.label);

function bar(label, p, best) {
  const item = document.createElement("li");
  const [name, value, meter] = ["span", "span", "progress"].map((kind) => document.createElement(kind));
  item.classList.toggle("best", best);
  name.textContent = name.title = shown(label);
  meter.max = 1;
  meter.value = p;
  meter.setAttribute("aria-label", shown(label));
  value.textContent = `${(100 * p).toFixed(1)} %`;
  item.append(name, value, meter);
  return item;
}

async function toggle(node, look, file, label) {
  const heat = node.querySelector(".heat");
  if (!heat.src) {
    look.disabled = true;
    const response = await send(`explain?label=${encodeURIComponent(label)}`, file).catch(() => null);
    look.disabled = false;
    if (!response || !response.ok) return say(response ? (await response.json()).error : "The server does not answer.");
    heat.src = URL.createObjectURL(await response.blob());
    heat.alt = `Saliency map for ${shown(label)}: warm colours mark what the prediction rests on`;
  }
  heat.hidden = !heat.hidden;
  look.setAttribute("aria-pressed", String(!heat.hidden));
}

// -- the table --

// A cell that a spreadsheet would take for a formula begins with an apostrophe, and so does one that looks as if it did.
const guarded = (text) => text.replace(/^(?=[=+\-@\t\r]|'[=+\-@\t\r'])/, "'");

// A column per class, none with the name of another column: p(label) for a class called label.
function columns(classes, own) {
  return classes.map((label) => {
    let name = label;
    while (own.includes(name) || (name !== label && classes.includes(name))) name = `p(${name})`;
    return name;
  });
}

$("csv").addEventListener("click", () => {
  const quoted = (value) => `"${guarded(String(value ?? "")).replaceAll('"', '""')}"`;
  const own = ["file", "label", "probability", "problem", "unknown", "distance"];
  const head = [...own.slice(0, 3), ...columns(model.classes, own), ...own.slice(3)];
  const lines = rows.map((row) => [
    quoted(row.file), quoted(row.label), row.probability ?? "",
    ...model.classes.map((label) => row.probabilities?.[label] ?? ""), quoted(row.problem),
    quoted({ true: "yes", false: "no" }[row.unknown]), row.distance ?? "",
  ].join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[head.map(quoted).join(","), ...lines].join("\r\n")], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
});

$("clear").addEventListener("click", () => {
  waiting = [];
  rows.length = 0;
  document.querySelectorAll("#cards img").forEach((image) => URL.revokeObjectURL(image.src));
  $("cards").replaceChildren();
  $("results").hidden = true;
  $("choose").focus();
});

function say(sentence) {
  $("message").textContent = sentence;
  $("message").hidden = false;
}

start();
