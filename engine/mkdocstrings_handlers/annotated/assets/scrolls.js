// What is wider than its place scrolls; so it must be possible to reach it with the keyboard, at whatever width the window has by now.
(() => {
  "use strict";
  // A theme may put a table into another place while the page is there.
  const PLACES = "article pre > code, pre.output, div.math, figure.output, .output-html, .md-typeset__scrollwrap, .md-typeset table:not([class])";
  const look = () => {
    const places = document.querySelectorAll(PLACES);
    const wide = [...places].map((place) => place.scrollWidth > place.clientWidth + 1);
    places.forEach((place, i) => (wide[i] ? (place.tabIndex = 0) : place.removeAttribute("tabindex")));
  };
  let asked = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(look);
  }).observe(document.documentElement);
})();
