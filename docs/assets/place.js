// The line that says where one is: which section is being read. A list that is open closes when something else is wanted.
(() => {
  "use strict";
  const place = document.querySelector(".place");
  if (!place) return;
  const lists = [...place.querySelectorAll("details")];
  const close = (but) => lists.forEach((list) => list !== but && (list.open = false));
  addEventListener("click", (event) => close(event.target.closest?.("a") ? null : event.target.closest?.(".place details")));
  place.addEventListener("focusout", (event) => event.relatedTarget && close(event.relatedTarget.closest(".place details")));
  place.addEventListener("keydown", (event) => {
    const list = event.target.closest("details");
    if (event.key !== "Escape" || !list?.open) return;
    close();
    list.querySelector("summary").focus();
  });

  const now = place.querySelector(".now");
  if (!now) return;
  const links = [...place.querySelectorAll(".place-page a")];
  const sections = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  let [tops, current, asked] = [[], undefined, 0];
  const say = () => {
    asked = 0;
    // Below the header and this line, and a few lines of text.
    const at = scrollY + 160;
    // At the very end the last section is meant, though it may not reach the top.
    const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2 && scrollY > 0;
    const found = end ? links.at(-1) : links[tops.findLastIndex((top) => top <= at)];
    if (found === current) return;
    current?.removeAttribute("aria-current");
    found?.setAttribute("aria-current", "true");
    now.textContent = found ? found.textContent : "";
    current = found;
  };
  const soon = () => (asked ||= requestAnimationFrame(say));
  const measure = () => {
    tops = sections.map((section) => (section ? section.getBoundingClientRect().top + scrollY : Infinity));
    soon();
  };
  addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(measure).observe(document.querySelector(".md-content"));
})();
