// A symbol in a formula and the identifier in the code are one thing. Point at either, and all its occurrences light up; stay, click or tap, and a card says what it is.
// Which belong together, and what a card says, is known since the page was built: `data-tie` has the number, and the list of symbols a row for it. Reading needs none of this.
(() => {
  "use strict";
  // A page may show several modules, and each counts its ties anew.
  for (const list of document.querySelectorAll(".legend")) connect(list.closest(".annotated") ?? list.closest("article"), list);

  function connect(page, list) {
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

    // The row of the list that is about a symbol where it stands: a name may mean something else in another function.
    const row = (one) => {
      const rows = [...list.querySelectorAll("[data-card]")].filter((r) => r.dataset.card === one.dataset.tie);
      const scope = one.closest(".sec")?.dataset.scope ?? "";
      return rows.find((r) => r.dataset.scope === scope) ?? rows[0];
    };
    const cards = window.annotatedCards;
    const open = (one, how) => cards?.open(one, row(one), { light, tokens: () => tokens(one.dataset.tie), ...how });

    // Enter goes from a name in the code to the next place of it; Escape leads back to where the jump began.
    const tokens = (tie) => (ties.get(tie) ?? []).filter((one) => one.matches(".code pre *"));
    const onward = (from) => {
      const all = tokens(from.dataset.tie);
      const next = all[(all.indexOf(from) + 1) % all.length];
      next.tabIndex = -1;
      next.focus();
    };

    // For the keyboard: a stop for each symbol where a section first uses it. It can't be the symbol itself, as KaTeX hides its drawing from screen
    // readers and lets them read MathML.
    const seen = new Map();
    for (const symbol of page.querySelectorAll(".katex-html [data-tie]")) {
      const place = symbol.closest("tr, .sec");
      if (symbol.closest(".legend") || seen.get(symbol.dataset.tie) === place) continue;
      seen.set(symbol.dataset.tie, place);
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tie-stop";
      button.dataset.tie = symbol.dataset.tie;
      button.setAttribute("aria-haspopup", "dialog");
      button.setAttribute("aria-label", `${symbol.dataset.code}: what it is`);
      // The button is out of sight, so its focus shows on the symbol.
      const formula = symbol.closest(".math");
      const shown = [...formula.querySelectorAll(".katex-html [data-tie]")].filter((one) => one.dataset.tie === button.dataset.tie);
      const mark = (on) => shown.forEach((one) => one.classList.toggle("stop", on));
      // A browser brings the button into view, which in a formula over two lines is not where the symbol is.
      button.addEventListener("focus", () => (light(button.dataset.tie), mark(true), shown[0]?.scrollIntoView({ block: "nearest" })));
      button.addEventListener("blur", () => mark(false));
      button.addEventListener("click", (event) => (event.stopPropagation(), open(shown[0], { focus: true, back: button })));
      formula.append(button);
    }

    const tied = (event) => event.target.closest?.("[data-tie]:not(.tie-stop)");
    // A finger is wider than a symbol: the nearest one is meant.
    const near = (event) => {
      const formula = event.target.closest?.(".math");
      const away = (one) => {
        const box = one.getBoundingClientRect();
        return Math.hypot(Math.max(box.left - event.clientX, 0, event.clientX - box.right), Math.max(box.top - event.clientY, 0, event.clientY - box.bottom));
      };
      const symbols = [...(formula?.querySelectorAll(".katex-html [data-tie]") ?? [])].map((one) => [away(one), one]);
      const [distance, nearest] = symbols.reduce((a, b) => (b[0] < a[0] ? b : a), [Infinity, null]);
      return distance <= 22 ? nearest : null;
    };
    const own = (one) => one && !one.closest(".legend");
    page.addEventListener(
      "pointerover",
      (event) => {
        const one = tied(event);
        light(one?.dataset.tie);
        if (event.pointerType === "mouse") own(one) ? open(one, { soon: true }) : cards?.leave();
      },
      { passive: true },
    );
    page.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && (light(null), cards?.leave()));
    page.addEventListener("click", (event) => {
      const one = tied(event) ?? (cards?.touched() ? near(event) : null);
      light(one?.dataset.tie);
      // A drag over code selects it, and a link is followed; a finger, which can't hover, sees the card first.
      const link = one?.closest("a[href]");
      if (!own(one) || !getSelection().isCollapsed || (link && (!cards?.touched() || cards.shows(one)))) return;
      event.preventDefault();
      open(one, {});
    });
    page.addEventListener("focusin", (event) => event.target.closest("[data-tie]") || light(null));
    document.addEventListener("keydown", (event) => {
      const inside = page.contains(event.target) && event.target.matches(".tied[tabindex]");
      if (event.key === "Escape") {
        if (inside) cards?.back();
        else light(null);
      } else if (event.key === "Enter" && inside) {
        event.preventDefault();
        onward(event.target);
      }
    });
  }
})();
