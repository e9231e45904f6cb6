// Images one by one: a key answers and the next image is there, because it was fetched before.

import { beat, choose, complain, facts, inOrder, send } from "./api.js";
import { classKey, elsewhere, nameOf, panel } from "./panel.js";
import { Viewer } from "./viewer.js";

const AHEAD = 5;
const at = (id) => document.getElementById(id);
const viewer = new Viewer(at("canvas"), 64);
const queue = []; // the first is before the reader
const pictures = new Map();
const under = new Set(); // answered, and the answer under way
let ready = null; // the image whose picture is to be seen: only it can be answered
let filling = null;
let count = 0;

// Pictures

function picture(name) {
  if (!pictures.has(name)) pictures.set(name, load(name));
  return pictures.get(name);
}

async function load(name) {
  try {
    const response = await fetch(`/image/${name}`);
    if (!response.ok) throw new Error(response.status);
    return { bitmap: await createImageBitmap(await response.blob()), note: response.headers.get("x-note") };
  } catch {
    pictures.delete(name);
    return null;
  }
}

function forget() {
  const needed = new Set(queue.map((item) => item.image));
  for (const name of pictures.keys()) if (!needed.has(name) && pictures.size > AHEAD + 3) pictures.delete(name);
}

async function present() {
  const item = queue[0];
  ready = null;
  at("end").hidden = Boolean(item) || Boolean(filling);
  at("proposal").hidden = true;
  at("said").hidden = true;
  at("likes").hidden = true;
  if (!item) {
    viewer.show(null);
    at("note").hidden = true;
    return;
  }
  const found = await picture(item.image);
  if (queue[0] !== item) return;
  if (!found) {
    complain("The image could not be fetched; trying again …");
    setTimeout(present, 1000);
    return;
  }
  await viewer.show(found.bitmap);
  if (queue[0] !== item) return;
  at("note").textContent = found.note;
  at("note").hidden = !found.note;
  propose(item);
  tell(item);
  compare(item);
  ready = item;
  at("canvas").dataset.image = item.image;
  at("canvas").dataset.shown = performance.now();
}

function propose(item) {
  at("proposal").hidden = !item.proposal;
  if (item.proposal) at("proposal").textContent = `${item.likes ? "They speak for" : "Proposal"}: ${proposed(item.proposal)}`;
}

/** The nearest labelled images, beside one that is looked at again. */
function compare(item) {
  at("likes").hidden = !item.likes?.length;
  at("likes").replaceChildren(...(item.likes ?? []).map(({ image, name }) => {
    const figure = document.createElement("figure");
    const picture = new Image(88, 88);
    picture.className = "tile";
    picture.src = `/tile/${image}`;
    picture.alt = `A labelled image like it: ${name}`;
    const words = document.createElement("figcaption");
    words.textContent = name;
    figure.append(picture, words);
    return figure;
  }));
}

const proposed = (proposal) => `${nameOf(proposal.label)}, ${Math.round(100 * proposal.probability)} %`;

function tell(item) {
  at("said").hidden = !item.said.length;
  at("said").replaceChildren(...item.said.map((said) => {
    const line = document.createElement("li");
    line.textContent = item.likes ? `Labelled: ${said.name}` : `${said.round === "first" ? "First" : "Second"} reader: ${said.name ?? said.says}`;
    return line;
  }));
}

// The queue

function refill() {
  filling ??= fill().finally(() => { filling = null; if (!queue.length) at("end").hidden = false; });
  return filling;
}

async function fill() {
  const many = AHEAD + 1 - queue.length;
  if (many <= 0) return;
  const have = [...queue.map((item) => item.image), ...under];
  try {
    const { status, body } = facts.view === "again" ? await send("again", { have, count: many })
      : await send("next", { round: facts.round, have, count: many, proposals: Boolean(at("proposals")?.checked) });
    if (status !== 200) { complain(body.error); return; }
    const known = new Set(queue.map((item) => item.image));
    const idle = !queue.length;
    queue.push(...body.items.filter((item) => !known.has(item.image)));
    queue.forEach((item) => picture(item.image));
    if (idle && queue.length) present();
  } catch {
    complain("The server does not answer; trying again …");
    setTimeout(refill, 1000);
  }
}

// Answers

function answer(says, known, key) {
  const item = ready;
  if (!item || item !== queue[0]) return;
  queue.shift();
  under.add(item.image);
  count += 1;
  at("count").textContent = count;
  present();
  say(item, says, known, key, item.version).finally(() => under.delete(item.image));
  refill();
  forget();
}

async function say(item, says, known, key, version) {
  const words = known?.name ?? (says === "unsure" ? "unsure" : "unusable");
  const { status, body } = await inOrder("answer", {
    round: facts.round, image: item.image, version, says, label: known?.id ?? null, key, shown: item.proposal,
  });
  if (status === 200) report(item, words, known, body);
  else if (status === 409) {
    if (await choose(body, words)) await say(item, says, known, key, body.version);
    else last(`“${words}” was not taken: the other answer stays.`);
  } else complain(body.error);
}

/** What was not to be known before: why the image came, and what the classifier says. */
function report(item, words, known, body) {
  at("why").hidden = !body.why;
  at("why").textContent = `It was suggested: ${body.why}.`;
  const revealed = body.revealed;
  if (!revealed) { last(`Last: ${words}`); return; }
  const same = revealed.label === known?.id;
  last(`Last: ${words}. The classifier ${same ? "agrees" : `says ${nameOf(revealed.label)}`}, ${Math.round(100 * revealed.probability)} %.`, !same);
}

function last(words, differs = false) {
  at("last").textContent = words;
  at("last").classList.toggle("differs", differs);
}

async function undo() {
  at("why").hidden = true;
  const { body } = await inOrder("undo", { ticket: crypto.randomUUID(), proposals: Boolean(at("proposals")?.checked) });
  if (!body.undone) { last("There is nothing to take back."); return; }
  if (body.undone > 1) { last(`${body.undone} answers of a grid were taken back; they come again.`); refill(); return; }
  if (body.round !== facts.round) { last("An answer in another view was taken back."); return; }
  last(body.items.length ? "Taken back: answer again." : "Taken back. Another reader has the image open now.");
  for (const item of body.items) {
    const place = queue.findIndex((other) => other.image === item.image);
    if (place >= 0) queue.splice(place, 1);
    queue.unshift(item);
  }
  present();
}

// Controls

function adjust() { viewer.adjust(Number(at("level").value), Number(at("window").value)); }

function turn(id, by) {
  at(id).value = Number(at(id).value) + by;
  adjust();
}

function plain() {
  at("level").value = at("window").value = 0;
  adjust();
  viewer.fit();
}

const KEYS = {
  0: () => answer("unsure", null, "0"), x: () => answer("unusable", null, "x"), u: undo,
  f: () => viewer.fit(), r: plain, "+": () => viewer.zoom(1.25), "=": () => viewer.zoom(1.25), "-": () => viewer.zoom(0.8),
  "[": () => turn("level", -5), "]": () => turn("level", 5), ";": () => turn("window", -5), "'": () => turn("window", 5),
  "?": () => at("help").showModal(),
  ArrowLeft: () => viewer.pan(60, 0), ArrowRight: () => viewer.pan(-60, 0),
  ArrowUp: () => viewer.pan(0, 60), ArrowDown: () => viewer.pan(0, -60),
};

const label = (known, key) => answer("label", known, key);

addEventListener("keydown", (event) => {
  if (elsewhere(event) || (event.target.type === "range" && event.key.startsWith("Arrow"))) return;
  if (classKey(event, label)) return;
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()] ?? (/^(?:Digit|Numpad)0$/.test(event.code) ? KEYS[0] : null);
  if (act) { event.preventDefault(); act(); }
});

const CLICKS = {
  unsure: () => answer("unsure", null, "click"), unusable: () => answer("unusable", null, "click"), undo,
  smaller: () => viewer.zoom(0.8), larger: () => viewer.zoom(1.25), fit: () => viewer.fit(), plain,
  keys: () => at("help").showModal(),
};
for (const [id, act] of Object.entries(CLICKS)) at(id).addEventListener("click", (event) => { event.currentTarget.blur(); act(); });
for (const id of ["level", "window"]) at(id).addEventListener("input", adjust);
at("proposals")?.addEventListener("change", () => { queue.splice(1); refill(); });

panel(label);
beat(facts.round, () => queue.map((item) => item.image), (lost) => {
  const current = queue[0];
  for (const name of lost) {
    const place = queue.findIndex((item) => item.image === name);
    if (place >= 0) queue.splice(place, 1);
  }
  if (queue[0] !== current) { last("Another reader has that image now: here is the next."); present(); }
  refill();
});
refill();
