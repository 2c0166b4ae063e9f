/* A guess stands again beside the next result. Plain script: modules do not load from file://. */
(() => {
  "use strict";

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
})();
