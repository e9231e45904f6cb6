// Talking to the server. Answers go one after the other and are sent again until they were taken:
// what the page shows as answered is in the record, or the page says that it is not yet.

export const facts = JSON.parse(document.getElementById("facts").textContent);
export const holder = crypto.randomUUID();

const trouble = document.getElementById("trouble");
let chain = Promise.resolve();
let pending = 0;

export function complain(words) {
  trouble.textContent = words;
  trouble.hidden = !words;
}

/** One request: its status and what it says; fails where the server does not answer. */
export async function send(name, body, more = {}) {
  const response = await fetch(`/api/${name}`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ holder, ...body }), ...more,
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : { error: text } };
}

/** A request that must not be lost, after those before it. */
export function inOrder(name, body) {
  pending += 1;
  const done = chain.then(() => untilTaken(name, body)).finally(() => { pending -= 1; });
  chain = done.catch(() => {});
  return done;
}

async function untilTaken(name, body) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 5000)) {
    try {
      const answer = await send(name, body);
      if (answer.status < 500) {
        complain([401, 403].includes(answer.status) ? "This page was closed by the server. Open the address in the terminal again." : "");
        return answer;
      }
    } catch { /* no answer: once more */ }
    complain(`The server does not answer. ${pending} answer${pending === 1 ? " is" : "s are"} not saved yet; trying again …`);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

addEventListener("beforeunload", (event) => { if (pending) event.preventDefault(); });
addEventListener("pagehide", () => {
  const body = new Blob([JSON.stringify({ holder })], { type: "application/json" });
  navigator.sendBeacon("/api/leave", body);
});

/** Every third of a lease: still here, with these images; `lost` hears which another has. */
export function beat(round, have, lost) {
  setInterval(async () => {
    try {
      const { status, body } = await send("beat", { round, have: have() });
      if (status === 200 && body.lost.length) lost(body.lost);
    } catch { /* the next answer will say so */ }
  }, (1000 * facts.lease) / 3);
}

let asking = Promise.resolve();

/** Which of two answers counts: resolves to true for one's own. One question after the other. */
export function choose(late, mine) {
  asking = asking.then(() => ask(late, mine));
  return asking;
}

function ask(late, mine) {
  const dialog = document.getElementById("conflict");
  const now = late.now;
  const theirs = now && (now.says === "label" ? now.name : now.says);
  document.getElementById("conflict-image").src = `/tile/${late.image}`;
  document.getElementById("conflict-text").textContent = now
    ? `${now.reader} answered “${theirs}” while you had the image open. Your answer is “${mine}”.`
    : `An answer was taken back while you had the image open. Your answer is “${mine}”.`;
  const keep = document.getElementById("conflict-keep");
  const use = document.getElementById("conflict-mine");
  keep.textContent = now ? `Keep ${now.reader}’s “${theirs}”` : "Leave it open";
  use.textContent = `Use mine: “${mine}”`;
  return new Promise((resolve) => {
    let own = false;
    keep.onclick = () => dialog.close();
    use.onclick = () => { own = true; dialog.close(); };
    dialog.addEventListener("close", () => resolve(own), { once: true });
    dialog.showModal();
    keep.focus();
  });
}
