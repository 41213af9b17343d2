// A term and a citation show in passing what they lead to: on hover, on focus, and at a finger's first tap (the second one follows the link).
// Without this script the same words are the link's `title`.
(() => {
  "use strict";
  const links = document.querySelectorAll("a.term, a.cite");
  if (!links.length) return;

  // A page has said its title once; a later link to the same place says the same.
  const said = new Map();
  for (const link of links) {
    if (link.title) said.set(link.hash, link.title);
    link.removeAttribute("title");
  }
  const note = document.createElement("div");
  note.id = "note";
  note.setAttribute("role", "tooltip");
  note.hidden = true;
  document.body.append(note);
  let shown = null;
  let leaving = 0;
  let touched = false; // not every browser says of a click what made it

  const hide = () => {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    note.hidden = true;
  };
  const show = (link) => {
    clearTimeout(leaving);
    if (link === shown || !said.has(link.hash)) return;
    hide();
    shown = link;
    note.textContent = said.get(link.hash);
    note.hidden = false;
    link.setAttribute("aria-describedby", note.id);
    // Below the line of the link, or above where there is no room. A link may be broken into two lines; the last one counts.
    const lines = link.getClientRects();
    const at = lines[lines.length - 1];
    const { width, height } = note.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const below = at.bottom + 6 + height <= window.innerHeight;
    note.style.left = `${Math.max(8, Math.min(at.left, room - width - 8))}px`;
    note.style.top = `${below ? at.bottom + 6 : lines[0].top - 6 - height}px`;
  };
  // The pointer may cross the gap and rest on the note.
  const leave = () => {
    clearTimeout(leaving);
    leaving = setTimeout(hide, 150);
  };

  for (const link of links) {
    link.addEventListener("pointerenter", (e) => e.pointerType !== "touch" && show(link));
    link.addEventListener("pointerleave", (e) => e.pointerType !== "touch" && leave());
    link.addEventListener("focus", () => link.matches(":focus-visible") && show(link));
    link.addEventListener("blur", leave);
    link.addEventListener("click", (e) => {
      if (touched && shown !== link && said.has(link.hash)) {
        e.preventDefault();
        show(link);
      }
    });
  }
  note.addEventListener("pointerenter", () => clearTimeout(leaving));
  note.addEventListener("pointerleave", leave);
  document.addEventListener("keydown", (e) => e.key === "Escape" && hide());
  document.addEventListener("pointerdown", (e) => {
    touched = e.pointerType === "touch";
    if (shown && !note.contains(e.target) && !shown.contains(e.target)) hide();
  });
  addEventListener("scroll", hide, { passive: true });
})();
