// The card of a tie: what stands in its row of the list of symbols, beside the symbol that was pointed at. There is one for all ties of a page, in the browser's own
// layer over the page, which Escape and a click elsewhere close, and which gives the focus back.
(() => {
  "use strict";
  if (!HTMLElement.prototype.showPopover || !document.querySelector(".legend [data-card]")) return;

  const card = document.createElement("div");
  card.id = "card";
  card.popover = "auto";
  card.setAttribute("role", "dialog");
  document.body.append(card);
  let [shown, pinned, waiting, how] = [null, false, 0, {}];
  let jumped = null; // from where, after a jump
  let touched = false; // not every browser says of a click what made it
  document.addEventListener("pointerdown", (event) => (touched = event.pointerType === "touch"), true);

  const element = (tag, name, ...inside) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...inside);
    return made;
  };
  const fill = (row) => {
    const [symbol, name, meaning, shape] = row.cells;
    const link = name.querySelector("a");
    const head = element("p", "", symbol.querySelector(".math").cloneNode(true), " = ", element("code", "", name.textContent));
    if (shape.textContent) head.append(" ", element("code", "shape", shape.textContent));
    const parts = [head, element("p", "", ...[...meaning.childNodes].map((node) => node.cloneNode(true)))];
    if (row.dataset.value) parts.push(element("p", "value", element("code", "", row.dataset.value)));
    if (link) {
      const way = element("a", "", `${link.title || (link.dataset.n ? `line ${link.dataset.n}` : "in the code")} →`);
      way.href = link.href;
      way.addEventListener("click", jump);
      parts.push(element("p", "", way));
    }
    card.replaceChildren(...parts);
    for (const one of card.querySelectorAll(".lit")) one.classList.remove("lit");
    card.setAttribute("aria-label", name.textContent);
  };
  // Below the symbol, or above it where there is no room.
  const place = (one) => {
    const at = one.getBoundingClientRect();
    const { width, height } = card.getBoundingClientRect();
    const below = at.bottom + 8 + height <= innerHeight || at.top < height + 60;
    const left = Math.max(8, Math.min(at.left - 12, document.documentElement.clientWidth - width - 8));
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${(below ? at.bottom + 8 : at.top - 8 - height) + scrollY}px`;
  };
  const show = (one, row) => {
    fill(row);
    card.showPopover();
    shown = one;
    place(one);
  };
  const hide = () => (clearTimeout(waiting), card.matches(":popover-open") && card.hidePopover());

  // The line is lit as the target of any link is; the name in it takes the focus, so that Enter goes on from there and Escape leads back.
  function jump(event) {
    const line = this.hash && this.pathname === location.pathname && document.getElementById(decodeURIComponent(this.hash.slice(1)));
    if (!line || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const [from, { back, light, tokens }] = [shown, how];
    const name = tokens().find((token) => line.contains(token)) ?? line.querySelector("a");
    for (let folded = line.closest("details"); folded; folded = folded.parentElement.closest("details")) folded.open = true;
    hide();
    setTimeout(() => {
      if (name && !name.matches("a")) name.tabIndex = -1;
      name?.focus({ preventScroll: true });
      light(from.dataset.tie);
      jumped = { from, back, name };
    });
  }
  const back = () => {
    if (!jumped) return;
    jumped.from.scrollIntoView({ block: "center" });
    if (jumped.back) jumped.back.focus({ preventScroll: true });
    else jumped.name?.blur();
    jumped = null;
  };
  // The browser's own way back restores the place in the page; the focus goes with it.
  addEventListener("popstate", () => {
    if (jumped?.name === document.activeElement) jumped.back ? jumped.back.focus({ preventScroll: true }) : jumped.name?.blur();
    jumped = null;
  });
  card.addEventListener("toggle", (event) => event.newState === "closed" && ([shown, pinned] = [null, false]));
  card.addEventListener("pointerenter", () => clearTimeout(waiting));
  card.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
  card.addEventListener("keydown", (event) => event.key === "Tab" && hide());
  const leave = () => {
    clearTimeout(waiting);
    if (!pinned) waiting = setTimeout(hide, 250);
  };

  window.annotatedCards = {
    // `soon`: once the pointer has rested; `focus`: the card's link takes it, and gives it `back`.
    open(one, row, given) {
      if (!row || (given.soon && (pinned || one === shown))) return given.soon && one === shown && clearTimeout(waiting);
      clearTimeout(waiting);
      const now = () => {
        hide();
        how = given;
        show(one, row);
        pinned = !given.soon;
        if (given.focus) card.querySelector("a")?.focus();
      };
      if (given.soon) waiting = setTimeout(now, 350);
      else now();
    },
    leave,
    back,
    touched: () => touched,
    shows: (one) => shown === one,
  };
})();
