// A symbol in a formula and the identifier in the code are one thing. Point at either or tap it, or reach it by keyboard: all its occurrences light up.
// Reading needs none of this. Formulas carry `data-code`; the code's own names are found here, so that the pages stay small.
(() => {
  "use strict";
  const page = document.querySelector(".annotated-module");
  const symbols = page ? [...page.querySelectorAll(".katex-html [data-code]")] : [];
  if (!symbols.length) return;

  // Which names are tied, by scope: what a class, a function or the demo ties, it ties within itself; what the introduction ties, everywhere.
  const ties = new Map();
  const scope = (element) => element.closest("[data-scope], .sec")?.dataset.scope ?? "";
  const everywhere = new Set(symbols.filter((one) => !scope(one)).map((one) => one.dataset.code));
  const key = (element, name) => `${everywhere.has(name) ? "" : scope(element)} ${name}`;
  for (const symbol of symbols) {
    const tie = key(symbol, symbol.dataset.code);
    symbol.dataset.tie = tie;
    if (!ties.has(tie)) ties.set(tie, []);
    ties.get(tie).push(symbol);
  }
  const names = new Set(symbols.map((symbol) => symbol.dataset.code));
  const add = (element, name) => {
    const tie = key(element, name);
    if (!ties.has(tie)) return false;
    element.dataset.tie = tie;
    ties.get(tie).push(element);
    return true;
  };
  for (const code of page.querySelectorAll(".prose code, .legend code")) {
    if (names.has(code.textContent)) add(code, code.textContent);
  }
  // A name in the code is tied as `x`, or as `self.x` when `self.` stands before it. Read as text, so that it doesn't matter whether a name is in a link.
  for (const listing of page.querySelectorAll(".code pre > code")) {
    const walker = document.createTreeWalker(listing, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    texts.forEach((text, n) => {
      const [owner, dot, next] = [texts[n - 2]?.data, texts[n - 1]?.data, texts[n + 1]?.data];
      const name = dot !== "." ? text.data : owner === "self" ? `self.${text.data}` : "";
      const token = text.parentElement;
      // Neither a word in a string nor the name of an argument in a call is the variable.
      if (!names.has(name) || !/^n[bcf]?$/.test(token.className)) return;
      if (next === "=" && !/^\s*def /.test(token.closest(".l").textContent)) return;
      if (add(token, name)) token.classList.add("tied");
    });
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
  for (const symbol of symbols) {
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
    const shown = [...formula.querySelectorAll(".katex-html [data-code]")].filter((one) => one.dataset.tie === button.dataset.tie);
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
    const inside = event.target.matches?.(".tied[tabindex]");
    if (event.key === "Escape") {
      if (inside) stop.focus();
      else light(null);
    } else if (event.key === "Enter" && inside) {
      event.preventDefault();
      onward();
    }
  });
})();
