// One switch for all pages: whether lines show what they produced. Remembered as long as the browser remembers anything.
(() => {
  "use strict";
  const page = document.documentElement;
  const buttons = document.querySelectorAll("button.shapes"); // one for each module on the page
  // A browser may refuse storage, from a folder for instance; then the switch works for this page only.
  const remembered = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("shapes");
      localStorage.setItem("shapes", value);
    } catch {}
    return null;
  };
  const show = (on) => {
    page.classList.toggle("no-shapes", !on);
    for (const button of buttons) button.setAttribute("aria-pressed", String(on));
  };
  show(remembered() !== "off");
  const turn = () => {
    const on = page.classList.contains("no-shapes");
    show(on);
    remembered(on ? "on" : "off");
  };
  for (const button of buttons) button.addEventListener("click", turn);
  // The choice made on one page holds in all that are open.
  addEventListener("storage", (event) => event.key === "shapes" && show(event.newValue !== "off"));
})();
