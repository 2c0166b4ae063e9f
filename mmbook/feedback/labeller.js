// The labeller's front end, for every host: no imports, no network, user text only through textContent.
// All state lies in the model's synced traits; labeller.py says what each of them means.
const TEXT = {
  label: "Preference labelling", progress: "Progress", question: "Which caption is better?",
  beside: ["Left", "Right"], stacked: ["First", "Second"], tie: "Tie", both_bad: "Both bad", skip: "Skip", undo: "Undo",
  keys: "Click here once, then use the keys: 1 or 2 for the better caption, 3 tie, 4 both bad, S skip, U undo.",
  done: "All items are judged. Thank you!",
  judged: (n, m) => `${n} of ${m} judged`,
  saved: (n) => `${n} saved`,
  waiting: (n) => `${n} waiting to be saved`,
  stuck: (n) => `${n} of your clicks not saved yet. Is the kernel running? If it was restarted, run this cell again; ` +
    "if that does not help, reload the page.",
  undone: "Taken back.",
  quick: "Too quick after the last one: not counted.",
};
const KEYS = { 1: "first", 2: "second", 3: "tie", 4: "both_bad", s: "skip", u: "undo" };
const GUARD_MS = 250; // a click sooner than this after a new item is the second half of a double click
const STUCK_MS = 4000;

export function shownFirst(seed, annotator, id) { // the twin of shown_first in items.py
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(`${seed}|${annotator}|${id}`)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d) >>> 0;
  return (h ^ (h >>> 15)) & 1;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function makeButton(act, key, ...children) {
  return make("button", { type: "button", "data-act": act, "aria-keyshortcuts": key }, ...children);
}

function makeParts() {
  const captions = [0, 1].map(() => make("span", { class: "mmb-caption", dir: "auto" }));
  const cards = ["first", "second"].map((act, i) => makeButton(act, String(i + 1), captions[i], make("span", { class: "mmb-which" },
    `${i + 1} · `, make("span", { class: "mmb-beside" }, TEXT.beside[i]), make("span", { class: "mmb-stacked" }, TEXT.stacked[i]))));
  const others = [["tie", "3"], ["both_bad", "4"], ["skip", "S"]].map(([act, key]) => makeButton(act, key, `${key} · ${TEXT[act]}`));
  const undo = makeButton("undo", "U", `U · ${TEXT.undo}`);
  const bar = make("progress", { "aria-label": TEXT.progress });
  const [count, saved] = ["mmb-count", "mmb-saved"].map((name) => make("span", { class: name }));
  const prompt = make("p", { class: "mmb-prompt" });
  const picture = make("img", { class: "mmb-picture", alt: "" });
  const pair = make("div", { class: "mmb-pair" }, ...cards);
  const status = make("p", { class: "mmb-status", role: "status", "aria-live": "polite" });
  const trouble = make("p", { class: "mmb-trouble", role: "alert" });
  const root = make("div", { class: "mmb", tabindex: "0", role: "group", "aria-label": TEXT.label },
    make("div", { class: "mmb-head" }, count, bar, saved), prompt, picture, pair,
    make("div", { class: "mmb-foot" }, ...others, undo), make("p", { class: "mmb-keys" }, TEXT.keys), status, trouble);
  return { root, captions, cards, others, undo, bar, count, saved, prompt, picture, pair, status, trouble };
}

function render({ model, el }) {
  const page = Date.now().toString(36) + Math.random().toString(36).slice(2);
  const parts = makeParts();
  const { root } = parts;
  let outbox = []; // this page's clicks that are not acknowledged yet
  let clicks = 0;
  let shown = null, shownAt = 0;
  let stuckTimer = 0;

  function judged() { // ids in the order of the judgements: what is on the disk, then what is on its way there
    const ids = [...model.get("labels")];
    for (const event of outbox) {
      const at = ids.lastIndexOf(event.id);
      if (event.op === "label") ids.push(event.id);
      else if (at >= 0) ids.splice(at, 1);
    }
    return ids;
  }

  function draw() {
    const acked = model.get("acks")[page] ?? 0;
    outbox = outbox.filter((event) => event.n > acked);
    const items = model.get("items"), ids = judged(), done = new Set(ids);
    const item = items.find((candidate) => !done.has(candidate.id));
    const n = items.filter((candidate) => done.has(candidate.id)).length;
    parts.bar.max = items.length;
    parts.bar.value = n;
    parts.count.textContent = TEXT.judged(n, items.length);
    parts.saved.textContent = outbox.length ? TEXT.waiting(outbox.length) : TEXT.saved(ids.length);
    root.dataset.saved = model.get("saved");
    root.dataset.item = item ? item.id : "";
    parts.pair.hidden = parts.picture.hidden = !item;
    for (const button of parts.others) button.disabled = !item;
    parts.undo.disabled = !ids.length;
    if (!item) parts.prompt.textContent = TEXT.done;
    else if (item.id !== shown) show(item);
    shown = item ? item.id : null;
    if (!outbox.length) clearTimeout(stuckTimer);
    warn(model.get("trouble"));
  }

  function show(item) {
    const first = shownFirst(model.get("seed"), model.get("annotator"), item.id);
    root.dataset.first = first;
    parts.prompt.textContent = item.prompt ? `${item.prompt} ${TEXT.question}` : TEXT.question;
    parts.picture.src = item.image;
    parts.picture.alt = item.alt;
    parts.captions.forEach((caption, i) => { caption.textContent = item.responses[i ^ first]; });
    shownAt = performance.now();
  }

  function warn(text) {
    if (parts.trouble.textContent !== text) parts.trouble.textContent = text;
  }

  function send(event) {
    clicks += 1;
    outbox.push({ n: clicks, time: new Date().toISOString(), ...event });
    const acks = model.get("acks"), all = { ...model.get("outbox"), [page]: [...outbox] };
    for (const other of Object.keys(all)) all[other] = all[other].filter((e) => e.n > (acks[other] ?? 0));
    model.set("outbox", Object.fromEntries(Object.entries(all).filter(([, events]) => events.length)));
    clearTimeout(stuckTimer);
    stuckTimer = setTimeout(() => warn(TEXT.stuck(outbox.length)), STUCK_MS);
    draw();
    model.save_changes();
  }

  function act(name, via) {
    parts.status.textContent = "";
    if (name === "undo") {
      const id = judged().at(-1);
      if (id === undefined) return;
      shown = null;
      send({ op: "undo", id });
      parts.status.textContent = TEXT.undone;
    } else if (shown !== null) {
      const ms = Math.round(performance.now() - shownAt), side = Number(root.dataset.first);
      if (ms < GUARD_MS) {
        parts.status.textContent = TEXT.quick;
        return;
      }
      const chosen = name === "first" ? { outcome: "label", choice: side } : name === "second" ? { outcome: "label", choice: 1 - side }
        : { outcome: name };
      send({ op: "label", id: shown, ...chosen, side, ms, via });
      parts.status.textContent = parts.count.textContent;
    }
    const focused = document.activeElement; // the button in focus may just have been hidden: keep the reader in the labeller
    if (!focused || focused === document.body || focused.disabled || focused.closest("[hidden]")) root.focus({ preventScroll: true });
  }

  function onClick(event) {
    const button = event.target.closest("button[data-act]");
    if (button) act(button.dataset.act, event.detail ? "click" : "key"); // Enter on a button is a click without detail
  }

  // Plain keys are ours: in the notebook "x" would cut this cell. Chords, Escape and Tab are the host's, so that Ctrl+S saves;
  // but Ctrl+Enter would run the cell again, so every Enter is ours.
  const isOurs = (event) => event.key === "Enter" || !(event.ctrlKey || event.metaKey || event.altKey || ["Escape", "Tab"].includes(event.key));

  // Notebook 7 listens on document in the capture phase, before any listener of ours, but spares what carries this attribute.
  // Set for good it would swallow Ctrl+S too, so it is set for each key, from window, which comes before document.
  const gate = (event) => {
    if (root.contains(event.target)) root.toggleAttribute("data-lm-suppress-shortcuts", isOurs(event));
  };

  function onKey(event) {
    if (!isOurs(event)) return;
    event.stopPropagation(); // JupyterLab listens while the event bubbles
    if (event.repeat && [" ", "Enter"].includes(event.key)) event.preventDefault(); // a held key is one judgement
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1]; // some keyboards have the digits on shift
    const name = KEYS[digit ?? event.key.toLowerCase()];
    if (name) {
      event.preventDefault();
      act(name, "key");
    }
  }

  const traits = ["items", "labels", "acks", "saved", "trouble", "annotator", "seed"].map((name) => `change:${name}`);
  for (const name of traits) model.on(name, draw);
  root.addEventListener("click", onClick);
  root.addEventListener("keydown", onKey);
  window.addEventListener("keydown", gate, true);
  el.append(root);
  draw();
  return () => {
    clearTimeout(stuckTimer);
    window.removeEventListener("keydown", gate, true);
    for (const name of traits) model.off(name, draw);
    root.remove();
  };
}

export default { render };
