// One switch for all pages: whether lines show what they produced. Remembered as long as the browser remembers anything. On a phone they don't until one asks, and a
// tap shows that of one line.
(() => {
  "use strict";
  const page = document.documentElement;
  const buttons = document.querySelectorAll("button.shapes"); // one for each module on the page
  if (!buttons.length) return;
  const narrow = matchMedia("(max-width: 599.9px)");
  // A browser may refuse storage, from a folder for instance; then the switch works for this page only.
  const remembered = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("shapes");
      localStorage.setItem("shapes", value);
    } catch {}
    return null;
  };
  let choice = remembered();
  const on = () => choice === "on" || (choice !== "off" && !narrow.matches);
  const show = (value) => {
    choice = value;
    page.classList.toggle("no-shapes", choice === "off");
    page.classList.toggle("all-shapes", choice === "on");
    for (const button of buttons) button.setAttribute("aria-pressed", String(on()));
  };
  show(choice);
  const turn = () => {
    show(on() ? "off" : "on");
    remembered(choice);
  };
  for (const button of buttons) button.addEventListener("click", turn);
  narrow.addEventListener("change", () => show(choice));
  // The choice made on one page holds in all that are open.
  addEventListener("storage", (event) => event.key === "shapes" && show(event.newValue));
  document.addEventListener("click", (event) => {
    const line = event.target.closest(".l[data-s]");
    // The number says that there is something, so it is tapped, too; elsewhere it is a link to the line.
    const other = event.target.closest("a[href]:not([aria-label]), [data-tie]");
    if (!line || on() || other || !getSelection().isCollapsed) return;
    event.preventDefault();
    line.classList.toggle("asked");
  });
})();
