// Many images at a time: take out the exceptions, and one key gives the rest their class.

import { beat, complain, facts, inOrder, send } from "./api.js";
import { classKey, elsewhere, panel } from "./panel.js";
import { Viewer } from "./viewer.js";

const at = (id) => document.getElementById(id);
const viewer = new Viewer(at("canvas"));
let items = [];
let shown = 0; // pictures that are there: only what was seen can be confirmed
let busy = false;
const passed = new Set(); // looked at and left without an answer

const many = () => Number(at("wall").dataset.count);
const tiles = () => [...at("tiles").children];
const out = (tile) => tile.getAttribute("aria-pressed") === "true";

async function load() {
  busy = true;
  try {
    const { status, body } = await send("grid", { count: many(), passed: [...passed].slice(-480) });
    if (status !== 200) { complain(body.error); return; }
    items = body.items;
  } catch {
    complain("The server does not answer; trying again …");
    setTimeout(load, 1000);
    return;
  } finally { busy = false; }
  complain("");
  shown = 0;
  at("tiles").replaceChildren(...items.map(tile));
  at("end").hidden = items.length > 0;
  at("wall").scrollTop = 0;
  tiles()[0]?.focus({ preventScroll: true });
  state();
}

function tile(item, place) {
  const button = document.createElement("button");
  button.className = "one";
  button.dataset.image = item.image;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", `Image ${place + 1}: take out`);
  const image = new Image();
  image.alt = "";
  image.addEventListener("load", () => { shown += 1; state(); });
  image.src = `/tile/${item.image}`;
  button.append(image);
  button.addEventListener("click", () => toggle(button));
  button.addEventListener("dblclick", () => larger(item.image));
  return button;
}

function toggle(button) {
  button.setAttribute("aria-pressed", String(!out(button)));
  state();
}

function state() {
  const taken = tiles().filter(out).length;
  const rest = items.length - taken;
  at("state").hidden = !items.length;
  at("state").textContent = shown < items.length ? "The images are coming …"
    : `${rest} image${rest === 1 ? "" : "s"} will get the class${taken ? `; ${taken} taken out` : ""}.`;
}

async function confirm(known, key) {
  const rest = tiles().filter((one) => !out(one)).map((one) => one.dataset.image);
  if (busy || shown < items.length || !rest.length) return;
  busy = true;
  const aside = tiles().filter((one) => out(one) && !one.dataset.lost).map((one) => one.dataset.image);
  const images = items.filter((item) => rest.includes(item.image)).map(({ image, version }) => ({ image, version }));
  const { status, body } = await inOrder("confirm", { label: known.id, key, images, aside });
  busy = false;
  if (status !== 200 && status !== 409) { complain(body.error); return; }
  const words = [`${body.taken} labelled ${known.name}`];
  if (aside.length) words.push(`${aside.length} come singly`);
  if (body.late.length) words.push(`${body.late.length} had been answered by ${[...new Set(body.late.map((late) => late.now?.reader ?? "another"))].join(", ")} meanwhile and stay as they are`);
  at("last").textContent = `${words.join("; ")}.`;
  at("last").classList.toggle("differs", body.late.length > 0);
  load();
}

async function undo() {
  const { body } = await inOrder("undo", { ticket: crypto.randomUUID() });
  at("last").textContent = body.undone ? `${body.undone} answer${body.undone === 1 ? "" : "s"} taken back.` : "There is nothing to take back.";
  load();
}

function others() {
  items.forEach((item) => passed.add(item.image));
  load();
}

async function larger(name) {
  const response = await fetch(`/image/${name}`);
  const bitmap = await createImageBitmap(await response.blob());
  at("large").showModal();
  viewer.resize();
  viewer.show(bitmap);
}

/** Move the focus by keys, in the columns as they lie. */
function go(key) {
  const all = tiles();
  const place = Math.max(0, all.indexOf(document.activeElement));
  const columns = all.filter((one) => one.offsetTop === all[0].offsetTop).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  all[Math.min(Math.max(place + step, 0), all.length - 1)]?.focus();
}

const KEYS = {
  u: undo, n: others, "?": () => at("help").showModal(),
  z: () => { const name = document.activeElement?.dataset?.image; if (name) larger(name); },
};

addEventListener("keydown", (event) => {
  if (event.key.startsWith("Arrow") && !document.querySelector("dialog[open]") && items.length) {
    if (event.target.closest("input")) return;
    event.preventDefault();
    go(event.key);
    return;
  }
  if (elsewhere(event) || classKey(event, confirm)) return;
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (act) { event.preventDefault(); act(); }
});

const CLICKS = { undo, none: others, keys: () => at("help").showModal() };
for (const [id, act] of Object.entries(CLICKS)) at(id).addEventListener("click", act);
for (const button of document.querySelectorAll("[data-many]")) {
  button.addEventListener("click", () => {
    at("wall").dataset.count = button.dataset.many;
    for (const other of document.querySelectorAll("[data-many]")) other.setAttribute("aria-pressed", String(other === button));
    load();
  });
}

panel(confirm);
beat(facts.round, () => items.map((item) => item.image), (lost) => {
  for (const one of tiles().filter((tile) => lost.includes(tile.dataset.image))) {
    one.dataset.lost = true;
    one.setAttribute("aria-pressed", "true");
  }
  at("last").textContent = "Another reader has some of these images now; they were taken out.";
  state();
});
load();
