// The player of pre-rendered pictures, a plain script, so that it also runs from file:// and in a notebook's output.
(() => {
  for (const root of document.querySelectorAll('[data-frames="HASH"]:not([data-on])')) {
    root.dataset.on = "";
    const { order, pictures, alts, captions, values } = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const [image, caption, play] = ["img", ".mml-caption", "button"].map((name) => root.querySelector(name));
    const inputs = [...root.querySelectorAll("input")], first = image.src;
    const show = () => {
      const at = inputs.reduce((sum, input, i) => sum * values[i].length + Number(input.value), 0);
      image.src = pictures[order[at]] ?? first; // the first picture is in the page already
      image.alt = alts[at];
      caption.textContent = captions[at];
      inputs.forEach((input, i) => {
        input.parentNode.querySelector("output").textContent = values[i][input.value];
        input.setAttribute("aria-valuetext", values[i][input.value]);
      });
    };
    inputs.forEach((input) => input.addEventListener("input", show));
    if (play) {
      const slider = inputs[0], calm = matchMedia("(prefers-reduced-motion: reduce)");
      let timer = 0;
      const stop = () => { clearInterval(timer); timer = 0; play.textContent = calm.matches ? "Next" : "Play"; };
      const atEnd = () => Number(slider.value) >= Number(slider.max);
      const next = () => {
        slider.value = atEnd() ? 0 : Number(slider.value) + 1; // the film ends, and begins again when asked
        show();
        if (atEnd() || !root.isConnected) stop();
      };
      play.addEventListener("click", () => {
        if (timer) return stop();
        if (!calm.matches) { timer = setInterval(next, 700); play.textContent = "Pause"; }
        next();
      });
      slider.addEventListener("pointerdown", stop);
      calm.addEventListener("change", stop);
      stop();
    }
    // A notebook has shortcuts on the keys that move a slider. JupyterLab listens while the event bubbles, Notebook 7 on
    // document in the capture phase, where it spares what carries the attribute; chords and Tab stay the notebook's.
    const ours = (event) => !(event.ctrlKey || event.metaKey || event.altKey || ["Escape", "Tab"].includes(event.key));
    root.addEventListener("keydown", (event) => { if (ours(event)) event.stopPropagation(); });
    window.addEventListener("keydown", (event) => {
      if (root.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", ours(event));
    }, true);
    root.querySelector(".mml-controls").hidden = false;
    show();
  }
})();
