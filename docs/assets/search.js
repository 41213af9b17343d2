// The search index is heavier than a page, and most readers of a page never search it: it is fetched when somebody goes to the search.
// Listed among the polyfills, because it must stand before the theme's script. From a folder the index is a script, and the theme loads it itself.
(() => {
  "use strict";
  const wanted = new Promise((go) => {
    // Someone comes from a search, to see what was found.
    if (/[?&](h|q)=/.test(location.search)) return go();
    const near = (event) => event.target.closest?.(".md-search, [for=__search]") && go();
    for (const event of ["focusin", "pointerover", "touchstart"]) addEventListener(event, near, { passive: true });
  });
  const { open, send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (method, address, ...rest) {
    this.index = String(address).endsWith("/search_index.json");
    return open.call(this, method, address, ...rest);
  };
  XMLHttpRequest.prototype.send = function (body) {
    if (!this.index) return send.call(this, body);
    wanted.then(() => this.readyState === XMLHttpRequest.OPENED && send.call(this, body));
  };
})();
