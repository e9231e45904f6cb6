// The classes: names, keys, descriptions and examples, each kept as soon as it is changed.

import { facts, inOrder } from "./api.js";

const at = (id) => document.getElementById(id);

function tell(words, bad = false) {
  at("told").textContent = words;
  at("told").classList.toggle("bad", bad);
}

async function change(what, words) {
  const { status, body } = await inOrder("classes", what);
  tell(status === 200 ? words : body.error, status !== 200);
  if (status === 200) facts.classes = body.classes;
  return status === 200;
}

function field(words, element, wide = false) {
  const label = document.createElement("label");
  label.append(words, element);
  if (wide) label.className = "wide";
  return label;
}

function card(known) {
  const item = document.createElement("li");
  item.className = "card";
  item.dataset.id = known.id;
  item.append(
    field("Key", key(known)), field("Name", name(known)), remove(known),
    field("Description", description(known), true), examples(known),
  );
  return item;
}

function key(known) {
  const select = document.createElement("select");
  for (const one of ["", ..."123456789"]) select.add(new Option(one || "none", one, false, one === known.key));
  select.addEventListener("change", async () => {
    await change({ do: "change", id: known.id, key: select.value }, `${known.name} has the key ${select.value || "none"}.`);
    draw(known.id, "select");
  });
  return select;
}

function name(known) {
  const input = Object.assign(document.createElement("input"), { value: known.name, maxLength: 80 });
  input.addEventListener("change", async () => {
    const done = await change({ do: "change", id: known.id, name: input.value }, `Now called ${input.value.trim()}.`);
    if (done) draw(); else input.value = known.name;
  });
  return input;
}

function description(known) {
  const area = Object.assign(document.createElement("textarea"), { value: known.description, maxLength: 600 });
  area.placeholder = "What a reader should look for";
  area.addEventListener("change", () => change({ do: "change", id: known.id, description: area.value }, "The description is kept."));
  return area;
}

function remove(known) {
  const button = document.createElement("button");
  button.className = "remove";
  button.textContent = "Remove";
  button.setAttribute("aria-label", `Remove ${known.name}`);
  button.addEventListener("click", async () => {
    if (await change({ do: "remove", id: known.id }, `${known.name} is removed.`)) draw();
  });
  return button;
}

function examples(known) {
  const names = [...new Set([...known.examples, ...(facts.samples[known.id] ?? [])])];
  const group = document.createElement("div");
  group.className = "wide";
  const title = document.createElement("p");
  title.className = "small quiet";
  title.textContent = names.length ? "Press those that show the class well: they become its examples."
    : "Images that get this class can be chosen as its examples.";
  const pick = document.createElement("div");
  pick.className = "pick";
  pick.append(...names.map((image, place) => example(known, image, place)));
  group.append(title, pick);
  return group;
}

function example(known, image, place) {
  const button = document.createElement("button");
  const picture = new Image(72, 72);
  picture.className = "tile";
  picture.alt = "";
  picture.src = `/tile/${image}`;
  button.append(picture);
  button.setAttribute("aria-label", `Image ${place + 1} as an example of ${known.name}`);
  button.setAttribute("aria-pressed", String(known.examples.includes(image)));
  button.addEventListener("click", async () => {
    const now = known.examples.includes(image) ? known.examples.filter((one) => one !== image) : [...known.examples, image];
    if (!(await change({ do: "change", id: known.id, examples: now }, "The examples are kept."))) return;
    known.examples = now;
    button.setAttribute("aria-pressed", String(now.includes(image)));
  });
  return button;
}

function draw(focused, inside) {
  at("cards").replaceChildren(...facts.classes.map(card));
  if (focused) document.querySelector(`[data-id="${CSS.escape(focused)}"] ${inside}`)?.focus();
}

at("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = at("new-class");
  if (!(await change({ do: "add", name: input.value }, `${input.value.trim()} is a class now.`))) return;
  input.value = "";
  draw();
});
draw();
