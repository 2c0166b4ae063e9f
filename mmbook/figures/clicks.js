// Rewards by click: shows `item` (id, image, alt, text), sends one click for it and waits for the next item. The kernel
// ignores a click on another id than the present one, so a click that is sent again counts once.
const KEYS = { 1: true, r: true, 2: false, w: false };
const GUARD_MS = 250; // a click sooner than this after a new item is the second half of a double click
const STUCK_MS = 4000;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const image = make("img", { width: 240, height: 240 });
  const question = make("p", { class: "mml-question" });
  const buttons = [["Right", "1"], ["Wrong", "2"]].map(([name, key]) =>
    make("button", { type: "button", "data-right": name === "Right", "aria-keyshortcuts": key }, `${key} · ${name}`));
  const status = make("p", { role: "status", class: "mml-status" }), trouble = make("p", { role: "alert", class: "mml-trouble" });
  const root = make("div", { class: "mml mml-clicks", tabindex: "0", role: "group", "aria-label": "Reward by click" },
    image, question, make("p", { class: "mml-buttons" }, ...buttons), status, trouble);
  let shown = null, shownAt = 0, waiting = false, timer = 0;

  function draw() {
    const item = model.get("item");
    if (item.id !== shown) {
      [image.src, image.alt, question.textContent] = [item.image, item.alt, item.text];
      [shown, shownAt] = [item.id, performance.now()];
      free();
    }
    status.textContent = `${model.get("saved")} clicks saved. Click here once, then use the keys: 1 right, 2 wrong.`;
    trouble.textContent = model.get("trouble");
    if (model.get("trouble")) free();
  }

  function free() {
    clearTimeout(timer);
    waiting = false;
    root.removeAttribute("aria-busy");
  }

  function give(right, via) {
    const ms = Math.round(performance.now() - shownAt);
    if (waiting || ms < GUARD_MS) return;
    waiting = true;
    root.setAttribute("aria-busy", "true");
    timer = setTimeout(() => {
      free();
      trouble.textContent = "Not saved yet. Is the kernel running? If it was restarted, run this cell again; else click again.";
    }, STUCK_MS);
    model.send({ id: shown, right, ms, via });
  }

  const isOurs = (event) => event.key === "Enter" || !(event.ctrlKey || event.metaKey || event.altKey || ["Escape", "Tab"].includes(event.key));
  const gate = (event) => { // Notebook 7 listens before any listener of ours, but spares what carries this attribute
    if (root.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", isOurs(event));
  };
  root.addEventListener("keydown", (event) => {
    if (!isOurs(event)) return;
    event.stopPropagation(); // JupyterLab listens while the event bubbles
    if (event.repeat && [" ", "Enter"].includes(event.key)) event.preventDefault(); // a held key is one judgement
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const right = KEYS[/^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1] ?? event.key.toLowerCase()];
    if (right !== undefined) {
      event.preventDefault();
      give(right, "key");
    }
  });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-right]");
    if (button) give(button.dataset.right === "true", event.detail ? "click" : "key"); // Enter is a click without detail
  });
  const traits = ["item", "saved", "trouble"].map((name) => `change:${name}`);
  for (const name of traits) model.on(name, draw);
  window.addEventListener("keydown", gate, true);
  el.append(root);
  draw();
  return () => {
    clearTimeout(timer);
    window.removeEventListener("keydown", gate, true);
    for (const name of traits) model.off(name, draw);
    root.remove();
  };
}

export default { render };
