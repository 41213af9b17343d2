// What stays in view beside something longer stays by its top. What is itself taller than the window would never show its end: it stays by its bottom.
(() => {
  "use strict";
  const places = document.querySelectorAll(".sec > .prose, .sec > .code");
  const look = () => {
    const heights = [...places].map((place) => place.offsetHeight);
    places.forEach((place, i) => {
      const top = innerHeight - heights[i] - 16;
      const tall = top < 0.12 * innerHeight;
      if (tall || place.style.top) place.style.top = tall ? `${top}px` : "";
    });
  };
  let asked = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(look);
  }).observe(document.documentElement);
})();
