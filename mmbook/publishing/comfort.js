/* Guesses and previews. A plain script: modules do not load from file://, and nothing here asks the network. */
(() => {
  "use strict";

  // A guess stands again beside the next result.
  for (const field of document.querySelectorAll(".mm-guess input")) {
    const results = [...document.querySelectorAll(".bd-article .cell_output")];
    const after = (node) => field.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING;
    const result = results.find(after);
    if (!result) continue;
    const echo = document.createElement("p");
    echo.className = "mm-guessed";
    echo.hidden = true;
    result.before(echo);
    field.addEventListener("input", () => {
      echo.hidden = !field.value.trim();
      echo.textContent = `Your guess: ${field.value.trim()}`;
    });
  }

  // A preview of what a link leads to: by the pointer, or by the keyboard's focus; a touch follows the link.
  const written = document.getElementById("mm-previews");
  const article = document.querySelector(".bd-article");
  if (!written || !article) return;
  const previews = JSON.parse(written.textContent);
  const tip = document.createElement("div");
  tip.id = "mm-tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  article.append(tip);
  let owner = null;
  let title = null; // the browser's own tooltip would cover ours
  let timer = 0;

  const linkOf = (node) => {
    const link = node instanceof Element ? node.closest("a.reference.internal") : null;
    return link && Object.hasOwn(previews, link.getAttribute("href")) ? link : null;
  };
  const place = () => {
    if (!owner) return;
    const box = owner.getClientRects()[0];
    if (!box || box.bottom < 0 || box.top > innerHeight) return hide();
    const { width, height } = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(8, Math.min(box.left, room - width - 8))}px`;
    const below = box.bottom + 6;
    const above = box.top - 6 - height;
    tip.style.top = `${below + height > innerHeight && above > 0 ? above : below}px`;
  };
  const hide = () => {
    clearTimeout(timer);
    if (!owner) return;
    owner.removeAttribute("aria-describedby");
    if (title !== null) owner.setAttribute("title", title);
    owner = title = null;
    tip.hidden = true;
  };
  const fit = () => {
    // a formula that is wider than the preview is drawn smaller, as long as it can be read
    for (const box of tip.querySelectorAll('mjx-container[display="true"]')) {
      const share = box.clientWidth / box.firstElementChild.getBoundingClientRect().width;
      if (share < 1) box.style.fontSize = `${Math.max(60, Math.floor(115 * share))}%`;
    }
    place();
  };
  const show = (link) => {
    clearTimeout(timer);
    if (owner === link) return;
    hide();
    owner = link;
    title = link.getAttribute("title");
    link.removeAttribute("title");
    link.setAttribute("aria-describedby", tip.id);
    const drawn = window.MathJax && window.MathJax.typesetPromise;
    if (drawn) window.MathJax.typesetClear([tip]);
    tip.innerHTML = previews[link.getAttribute("href")]; // written by the build, from the book alone
    const formula = tip.querySelector("div.math");
    if (formula) tip.setAttribute("aria-label", formula.textContent); // TeX, as a drawn formula has no name
    else tip.removeAttribute("aria-label");
    tip.hidden = false;
    place();
    if (drawn && tip.querySelector(".math")) window.MathJax.typesetPromise([tip]).then(fit);
  };
  const soon = (act, milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const link = linkOf(event.target);
    if (link) soon(() => show(link), 150);
    else if (tip.contains(event.target)) clearTimeout(timer);
    else if (owner !== document.activeElement) soon(hide, 200);
    else clearTimeout(timer);
  });
  document.addEventListener("focusin", (event) => {
    const link = linkOf(event.target);
    if (link && link.matches(":focus-visible")) show(link);
    else hide();
  });
  document.addEventListener("focusout", (event) => {
    if (event.target === owner) hide();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!tip.contains(event.target)) hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  addEventListener("scroll", place, { passive: true });
  addEventListener("resize", place);
})();
