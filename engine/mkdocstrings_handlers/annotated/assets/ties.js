// A symbol in a formula and the identifier in the code are one thing. Point at either or tap it, or reach it by keyboard: all its occurrences light up.
// Which belong together is known since the page was built: `data-tie` has the number. Reading needs none of this.
(() => {
  "use strict";
  // A page may show several modules, and each counts its ties anew.
  for (const block of document.querySelectorAll(".annotated-module")) connect(block);

  function connect(page) {
    const ties = new Map();
    for (const one of page.querySelectorAll("[data-tie]")) {
      // What a screen reader reads of a formula has the number too; it lights nothing.
      if (one.closest(".katex-mathml")) continue;
      if (!ties.has(one.dataset.tie)) ties.set(one.dataset.tie, []);
      ties.get(one.dataset.tie).push(one);
    }

    let lit = [];
    const light = (tie) => {
      for (const old of lit) old.classList.remove("lit");
      lit = ties.get(tie) ?? [];
      for (const one of lit) one.classList.add("lit");
    };

    // For the keyboard: a stop for each symbol where a section first uses it. It can't be the symbol itself, as KaTeX hides its drawing from screen
    // readers and lets them read MathML. Enter goes from the stop to the name in the code and on to the next place; Escape leads back.
    let [stop, visited] = [null, -1];
    const onward = () => {
      const tokens = (ties.get(stop?.dataset.tie) ?? []).filter((one) => one.matches(".code pre *"));
      if (!tokens.length) return;
      visited = (visited + 1) % tokens.length;
      tokens[visited].tabIndex = -1;
      tokens[visited].focus();
    };
    const seen = new Map();
    for (const symbol of page.querySelectorAll(".katex-html [data-tie]")) {
      const place = symbol.closest("tr, .sec");
      if (seen.get(symbol.dataset.tie) === place) continue;
      seen.set(symbol.dataset.tie, place);
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tie-stop";
      button.dataset.tie = symbol.dataset.tie;
      button.setAttribute("aria-label", `${symbol.dataset.code}: go to it in the code`);
      // The button is out of sight, so its focus shows on the symbol.
      const formula = symbol.closest(".math");
      const shown = [...formula.querySelectorAll(".katex-html [data-tie]")].filter((one) => one.dataset.tie === button.dataset.tie);
      const mark = (on) => shown.forEach((one) => one.classList.toggle("stop", on));
      // A browser brings the button into view, which in a formula over two lines is not where the symbol is.
      button.addEventListener("focus", () => (light(button.dataset.tie), mark(true), shown[0]?.scrollIntoView({ block: "nearest" })));
      button.addEventListener("blur", () => mark(false));
      button.addEventListener("click", () => {
        [stop, visited] = [button, -1];
        onward();
      });
      formula.append(button);
    }

    const tied = (event) => event.target.closest?.("[data-tie]")?.dataset.tie;
    page.addEventListener("pointerover", (event) => light(tied(event)), { passive: true });
    page.addEventListener("click", (event) => light(tied(event)));
    page.addEventListener("focusin", (event) => tied(event) || light(null));
    page.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && light(null));
    document.addEventListener("keydown", (event) => {
      const inside = page.contains(event.target) && event.target.matches(".tied[tabindex]");
      if (event.key === "Escape") {
        if (inside) stop.focus();
        else light(null);
      } else if (event.key === "Enter" && inside) {
        event.preventDefault();
        onward();
      }
    });
  }
})();
