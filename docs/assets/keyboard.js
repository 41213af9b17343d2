// The theme opens a narrow window's navigation with a label, which only a hand can reach. With scripts it is a button.
(() => {
  "use strict";
  const drawer = document.getElementById("__drawer");
  const label = document.querySelector(".md-header label[for=__drawer]");
  if (!drawer || !label) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = `${label.className} drawer`;
  button.setAttribute("aria-label", "Navigation");
  button.append(...label.childNodes);
  label.replaceWith(button);

  const say = () => button.setAttribute("aria-expanded", drawer.checked);
  drawer.addEventListener("change", say);
  button.addEventListener("click", () => drawer.click());
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drawer.checked) return;
    drawer.click();
    button.focus();
  });
  say();
})();
