// The list of classes beside an image or a grid: buttons, keys, a search box beyond nine, and a form for a new one.

import { facts, inOrder } from "./api.js";

const MANY = 9;
const list = document.getElementById("classes");
const find = document.getElementById("find");
const search = document.getElementById("search");

export let classes = facts.classes;

export const nameOf = (id) => classes.find((known) => known.id === id)?.name ?? id;

/** Show the classes; `chosen` hears of the one that is clicked or found, with the key that was pressed. */
export function panel(chosen) {
  draw(chosen);
  search.addEventListener("input", () => draw(chosen));
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave(chosen);
    if (event.key !== "Enter") return;
    event.preventDefault();
    const [first] = matching();
    if (!first || !search.value.trim()) return;
    leave(chosen);
    chosen(first, "search");
  });
  document.getElementById("add").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = document.getElementById("new-class");
    const { status, body } = await inOrder("classes", { do: "add", name: field.value });
    field.setCustomValidity(status === 200 ? "" : body.error);
    if (status !== 200) { field.reportValidity(); return; }
    classes = body.classes;
    field.value = "";
    field.blur();
    draw(chosen);
  });
  document.getElementById("new-class").addEventListener("input", (event) => event.target.setCustomValidity(""));
}

/** Keys that choose a class or go to the search box; true if the key was one of them. */
export function classKey(event, chosen) {
  const digit = /^[1-9]$/.test(event.key) ? event.key : /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
  const known = digit && classes.find((one) => one.key === digit);
  if (known) chosen(known, digit);
  else if (event.key === "/" && !find.hidden) { event.preventDefault(); search.focus(); }
  else return false;
  return true;
}

/** Whether a key is meant for a field or a dialogue, and not for the page. */
export function elsewhere(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector("dialog[open]")
    || event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select");
}

function leave(chosen) {
  search.value = "";
  search.blur();
  draw(chosen);
}

function matching() {
  const words = search.value.trim().toLowerCase();
  const starts = (known) => known.name.toLowerCase().startsWith(words);
  const found = classes.filter((known) => `${known.name} ${known.description}`.toLowerCase().includes(words));
  return words ? [...found.filter(starts), ...found.filter((known) => !starts(known))] : classes;
}

function draw(chosen) {
  find.hidden = classes.length <= MANY;
  document.body.classList.toggle("no-classes", !classes.length);
  list.replaceChildren(...matching().map((known) => row(known, chosen)));
}

function row(known, chosen) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.className = "class";
  button.dataset.id = known.id;
  const key = document.createElement("kbd");
  key.textContent = known.key || " ";
  const name = document.createElement("span");
  name.textContent = known.name;
  button.append(key, name);
  button.addEventListener("click", () => { button.blur(); chosen(known, "click"); });
  item.append(button);
  if (known.description || known.examples.length) item.append(more(known));
  return item;
}

function more(known) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "?";
  summary.setAttribute("aria-label", `About ${known.name}`);
  const words = document.createElement("p");
  words.textContent = known.description;
  const examples = document.createElement("div");
  examples.className = "examples";
  for (const name of known.examples) {
    const image = new Image(64, 64);
    image.loading = "lazy";
    image.src = `/tile/${name}`;
    image.alt = `Example of ${known.name}`;
    image.className = "tile";
    examples.append(image);
  }
  details.append(summary, words, examples);
  return details;
}
