// What stays in view beside something longer stays by its top. What is itself taller than the window would never show its end: it stays by its bottom.
(() => {
  "use strict";
  const places = document.querySelectorAll(".sec > .prose, .sec > .code");
  const look = () => {
    const sizes = [...places].map((place) => [place.offsetHeight, getComputedStyle(place).position === "sticky"]);
    places.forEach((place, i) => {
      const [height, stays] = sizes[i];
      const top = innerHeight - height - 16;
      const tall = stays && top < 0.12 * innerHeight;
      if (tall || place.style.top) place.style.top = tall ? `${top}px` : "";
    });
  };
  let asked = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(look);
  }).observe(document.documentElement);
})();
