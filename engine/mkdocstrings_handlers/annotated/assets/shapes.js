// One switch for all pages: whether lines show what they produced. Remembered as long as the browser remembers anything.
(() => {
  "use strict";
  const page = document.documentElement;
  const button = document.querySelector("button.shapes");
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
    button?.setAttribute("aria-pressed", String(on));
  };
  show(remembered() !== "off");
  button?.addEventListener("click", () => {
    const on = page.classList.contains("no-shapes");
    show(on);
    remembered(on ? "on" : "off");
  });
  // The choice made on one page holds in all that are open.
  addEventListener("storage", (event) => event.key === "shapes" && show(event.newValue !== "off"));
})();
