// A symbol in a formula and the identifier in the code are one thing. Point at either, reach it by keyboard, or tap it: all its occurrences light up.
// Reading needs none of this. Formulas carry `data-code`; the code's own names are found here, so that the pages stay small.
(() => {
  "use strict";
  const page = document.querySelector(".annotated-module");
  if (!page) return;

  // Which names are tied, by scope: what a class or function ties, it ties within itself; what the introduction ties, everywhere.
  const names = new Map();
  const scope = (element) => element.closest(".sec")?.dataset.scope ?? "";
  const key = (where, name) => `${where} ${name}`;
  const add = (where, name, element) => {
    if (!names.has(key(where, name))) names.set(key(where, name), []);
    names.get(key(where, name)).push(element);
    element.dataset.tie = key(where, name);
  };
  const symbols = [...page.querySelectorAll(".katex-html [data-code]")];
  const tied = new Set(symbols.flatMap((s) => [key(scope(s), s.dataset.code)]));
  const everywhere = new Set(symbols.filter((s) => !scope(s)).map((s) => s.dataset.code));
  const home = (where, name) =>
    tied.has(key(where, name)) ? where : everywhere.has(name) ? "" : null;

  for (const symbol of symbols) add(scope(symbol), symbol.dataset.code, symbol);

  // A name in the code is tied as `x`, or as `self.x` when `self.` stands before it; a keyword's name in a call is not the variable.
  const spelled = (token) => {
    const dot = token.previousElementSibling;
    if (dot?.textContent !== "." || token.previousSibling !== dot) return token.textContent;
    const owner = dot.previousElementSibling;
    return owner?.textContent === "self" ? `self.${token.textContent}` : null;
  };
  for (const token of page.querySelectorAll(".code .n, .code .bp + .o + .n")) {
    const name = spelled(token);
    const where = name && home(scope(token), name);
    if (where === null || where === undefined || name === null) continue;
    token.classList.add("tied");
    add(where, name, token);
  }
  for (const code of page.querySelectorAll(".prose code")) {
    const where = home(scope(code), code.textContent);
    if (where !== null) add(where, code.textContent, code);
  }
  // One stop per symbol for the keyboard; the code is reached through it.
  for (const symbol of symbols) {
    symbol.tabIndex = 0;
    symbol.setAttribute("role", "button");
    symbol.setAttribute("aria-label", `Show ${symbol.dataset.code} in the code`);
  }

  let lit = [];
  const light = (element) => {
    const tie = element?.closest?.("[data-tie]")?.dataset.tie;
    for (const old of lit) old.classList.remove("lit");
    lit = tie ? names.get(tie) : [];
    for (const one of lit) one.classList.add("lit");
  };
  for (const event of ["pointerover", "focusin", "click"]) {
    page.addEventListener(event, (e) => light(e.target), { passive: true });
  }
  page.addEventListener("pointerleave", () => light(null));
  document.addEventListener("keydown", (e) => e.key === "Escape" && light(null));
})();

// What is wider than its place scrolls; so it must be possible to reach it with the keyboard, at whatever width the window has by now.
(() => {
  "use strict";
  const places = document.querySelectorAll(
    "article pre > code, pre.output, div.math, figure.output, .output-html, .md-typeset__scrollwrap",
  );
  const look = () => {
    const wide = [...places].map((place) => place.scrollWidth > place.clientWidth + 1);
    places.forEach((place, i) => (wide[i] ? (place.tabIndex = 0) : place.removeAttribute("tabindex")));
  };
  let asked = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(look);
  }).observe(document.documentElement);
})();
