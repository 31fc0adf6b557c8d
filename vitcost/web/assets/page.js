// The page: reads the form, asks Python in the worker, and puts its markup in place.
const form = document.getElementById("question");
const columns = document.getElementById("columns");
const both = document.getElementById("both");
const state = document.getElementById("state");
const said = document.getElementById("said");
const here = document.getElementById("here");
const training = document.getElementById("training");
// what Python may take for one answer, and the bytes of a file that any reader could take
const PATIENCE = 60000;
const MOST = 2 ** 26;

let worker, wanted = null, busy = false, number = 0, loaded = false, failure = "";
// the files that were dropped, which a new Python is given again
const dropped = new Map();
const pending = new Map();

function start() {
  loaded = false;
  busy = false;
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.ready) {
      columns.dataset.started = data.started - performance.timeOrigin;
      loaded = true;
      tell(failure);
      for (const [name, file] of dropped) write(name, file);
      next();
    } else if (pending.has(data.id)) {
      pending.get(data.id)(data);
      pending.delete(data.id);
    } else if (data.failed) {
      tell(`Python could not be loaded: ${data.failed}`);
    }
  };
  worker.onerror = event => tell(`Python could not be loaded: ${event.message || "no answer"}`);
}

function tell(text) {
  state.textContent = text;
}

function send(message, transfer = []) {
  const id = ++number;
  return new Promise(resolve => {
    pending.set(id, resolve);
    worker.postMessage({ id, ...message }, transfer);
  });
}

// an answer, or after a while a new Python in place of one that does not come back
async function ask(message) {
  let waiting;
  const late = new Promise(resolve => {
    waiting = setTimeout(() => resolve(null), PATIENCE);
  });
  const answer = await Promise.race([send(message), late]);
  clearTimeout(waiting);
  if (answer !== null && !answer.fatal) return answer;
  return again(answer === null ? `no answer within ${PATIENCE / 1000} s` : answer.failed);
}

function again(reason) {
  worker.terminate();
  pending.clear();
  start();
  return { failed: `${reason}: Python was started again` };
}

function question() {
  return Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
}

function restore() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (![...given].length) return;
  for (const field of form.elements) {
    if (!field.name) continue;
    const value = given.get(field.name);
    if (field.tagName === "SELECT") {
      // a word that is no choice is judged like any other
      if (value !== null && ![...field.options].some(option => option.value === value)) {
        field.add(new Option(value));
      }
      field.value = value ?? field.options[0].value;
    } else {
      field.value = value ?? "";
    }
  }
}

function remember() {
  const hash = `#${new URLSearchParams(question())}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

function settle() {
  training.disabled = form.elements.mode.value === "infer";
  for (const slider of form.querySelectorAll("[type=range]")) {
    const field = form.elements[slider.dataset.of];
    const value = Number(field.value || field.placeholder);
    if (document.activeElement !== slider && value >= 0) slider.value = position(slider, value);
  }
}

// batches and ranks double, everything else grows evenly
const doubles = slider => ["batch", "ranks", "accumulate"].includes(slider.dataset.of);
function position(slider, value) {
  return doubles(slider) ? Math.log2(value) * 2 : value;
}
function valueOf(slider) {
  return doubles(slider) ? Math.round(2 ** (slider.value / 2)) : Number(slider.value);
}

function changed() {
  settle();
  remember();
  wanted = question();
  next();
}

let later;
async function next() {
  if (!loaded || busy || wanted === null) return;
  const now = wanted;
  wanted = null;
  busy = true;
  clearTimeout(later);
  const first = await ask({ question: JSON.stringify(now) });
  show(first, "first");
  busy = false;
  if (wanted !== null) return void next();
  later = setTimeout(async () => {
    busy = true;
    const rest = await ask({ question: JSON.stringify({ ...now, rest: true }) });
    busy = false;
    if (wanted === null) show(rest, "rest");
    columns.setAttribute("aria-busy", "false");
    next();
  }, 150);
}

function show({ answer, failed, took }, part) {
  // until the next answer, also while a new Python loads
  failure = failed ?? "";
  tell(failure);
  if (failed) return;
  columns.setAttribute("aria-busy", "true");
  columns.dataset.took = took;
  columns.dataset.first ??= performance.now();
  while (columns.children.length > answer.length) columns.lastChild.remove();
  answer.forEach((column, i) => {
    const article = columns.children[i] ?? columns.appendChild(document.createElement("article"));
    put(article, column, part);
  });
  if (part === "rest" || answer.length === 1) both.innerHTML = answer[0].both;
  if (part === "first") {
    said.textContent = answer.map(column => column.error || column.said).join(" · ");
    own(answer[0]);
  }
}

// what a model has of its own stands where nothing is typed; an image grows by patches
function own({ own: fields, patch, error }) {
  if (error) return;
  for (const name of ["img_size", "num_classes"]) {
    form.elements[name].placeholder = fields[name] ?? "–";
  }
  const slider = form.querySelector("[data-of=img_size]");
  slider.step = slider.min = patch;
  settle();
}

// what stood there stays, paler, until a new answer is there: a name is wrong while it is typed, and
// nothing jumps for that
function put(article, column, part) {
  if (!article.querySelector(".first")) {
    article.innerHTML =
      '<p class="error" role="alert"></p><div class="first"></div><div class="rest"></div>';
  }
  const [wrong, first, rest] = article.children;
  if (wrong.textContent !== column.error) wrong.textContent = column.error;
  first.classList.toggle("stale", column.error !== "");
  rest.classList.toggle("stale", column.error !== "" || part === "first");
  if (column.error) return;
  leave();
  const place = part === "first" ? first : rest;
  const open = [...place.querySelectorAll("details[open] > summary")].map(each => each.textContent);
  place.innerHTML = column.html;
  for (const summary of place.querySelectorAll("details > summary")) {
    if (open.includes(summary.textContent)) summary.parentElement.open = true;
  }
  for (const figure of place.querySelectorAll("figure")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    button.setAttribute("aria-label", `copy the ${figure.firstChild.textContent}`);
    button.onclick = () => navigator.clipboard.writeText(figure.querySelector("pre").textContent)
      .then(() => { button.textContent = "copied"; }, () => { button.textContent = "not allowed"; });
    figure.append(button);
  }
}

async function write(name, file) {
  const bytes = await file.slice(0, MOST).arrayBuffer();
  await send({ file: name, bytes }, [bytes]);
}

async function take(file, field = "model") {
  if (!file) return;
  // no path, and no name that a system refuses
  const name = `./${file.name.replace(/[^\w.-]/g, "_").slice(-80).replace(/^\.+/, "_")}`;
  dropped.set(name, file);
  await write(name, file);
  form.elements[field].value = name;
  changed();
}

// what a mark says, beside the pointer at once and not where the browser puts its own note later
let pointed = null;
function leave() {
  if (pointed) pointed.textContent = here.textContent;
  pointed = null;
  here.hidden = true;
}
function point({ target, clientX, clientY }) {
  const title = target.localName === "svg" ? null : target.querySelector?.(":scope > title");
  if (title !== pointed) {
    leave();
    pointed = title;
    here.hidden = !title;
    here.textContent = title?.textContent;
    if (title) title.textContent = "";
  }
  here.style.left = `${Math.max(0, Math.min(clientX + 12, innerWidth - here.offsetWidth - 8))}px`;
  here.style.top = `${Math.min(clientY + 16, innerHeight - here.offsetHeight - 8)}px`;
}
for (const each of [columns, both]) {
  each.addEventListener("pointermove", point);
  each.addEventListener("pointerdown", point);
  each.addEventListener("pointerleave", leave);
}

form.addEventListener("input", ({ target }) => {
  if (target.type === "range") form.elements[target.dataset.of].value = valueOf(target);
  if (target.type !== "file") changed();
});
form.addEventListener("submit", event => event.preventDefault());
document.getElementById("file").addEventListener("change", event => take(event.target.files[0]));
addEventListener("dragover", event => event.preventDefault());
addEventListener("drop", event => {
  event.preventDefault();
  take(event.dataTransfer.files[0], event.target.closest?.("article:nth-child(2)") ? "other" : "model");
});
addEventListener("hashchange", () => {
  restore();
  changed();
});

for (const slider of form.querySelectorAll("[type=range]")) {
  if (doubles(slider)) {
    slider.max = Math.log2(slider.max) * 2;
    slider.min = 0;
  }
}
// a question gives the whole report as JSON, every digit of it: for tests, and for a console
window.vitcost = {
  full: asked => ask({ question: JSON.stringify(asked), full: true }).then(data => data.answer),
  ask: (asked, rest) => ask({ question: JSON.stringify({ ...asked, rest }) }),
  take,
  again: reason => show(again(reason), "first"),
};
restore();
settle();
start();
if (location.hash.length > 1) {
  // the answer that stands there is of another question
  said.textContent = "";
  changed();
}
else wanted = question();
if ("serviceWorker" in navigator) {
  const offline = document.getElementById("offline");
  navigator.serviceWorker.register("sw.js")
    .then(() => navigator.serviceWorker.ready)
    .then(() => { offline.textContent = "It works offline now."; }, () => {});
}
