// The playground's controls: what a reader sets is drawn, and stands in the address, so that a link shows the same.
(() => {
  "use strict";
  const { settings, initial, views } = globalThis.labmlView;
  const PARTS = Object.keys(views);
  const state = Object.fromEntries(PARTS.map((part) => [part, initial(part)]));
  const input = (name) => document.getElementById(`set-${name}`);

  // ## A setting as text: `#mean=1000,scale=1`, where what is not mentioned is as it was at first

  function allowed({ first, stops, options }, text) {
    if (options) return Object.hasOwn(options, text) ? text : first;
    const value = Number(text);
    const possible = stops ? stops.includes(value) : Number.isInteger(value) && value >= 1 && value <= 9999;
    return possible ? value : first;
  }

  const given = (hash) => {
    const plain = hash.slice(1).replace(/%2c/gi, ",").replace(/%3d/gi, "=");
    return new Map(plain.split(",").map((pair) => pair.split("=")));
  };
  function read(hash, part) {
    const values = given(hash);
    const value = ([name, setting]) => [name, values.has(name) ? allowed(setting, values.get(name)) : setting.first];
    return Object.fromEntries(settings(part).map(value));
  }
  function written(part, values = state[part]) {
    const changed = settings(part).filter(([name, { first }]) => values[name] !== first);
    return changed.map(([name]) => `${name}=${values[name]}`);
  }

  // ## From the state to the page

  function setControls(part) {
    for (const [name, { stops }] of settings(part)) {
      const value = state[part][name];
      input(name).value = stops ? stops.indexOf(value) : value;
      if (!stops) continue;
      input(name).setAttribute("aria-valuetext", value);
      document.querySelector(`output[for="set-${name}"]`).value = value;
    }
  }

  const target = (name) => document.querySelector(`[data-part="${name}"]`);

  // Drawn once per frame, however fast the slider moves. A sentence that is read aloud waits until the reader rests.
  const PAUSE = 400; // milliseconds
  const pending = new Set();
  const unsaid = new Map();
  let waiting = 0;
  function redraw(part) {
    if (!pending.size) requestAnimationFrame(paint);
    pending.add(part);
  }

  function paint() {
    for (const part of pending) {
      setControls(part);
      for (const [name, html] of Object.entries(views[part](state[part]))) {
        if (name.endsWith("-said")) unsaid.set(name, html);
        else target(name).innerHTML = html;
      }
    }
    pending.clear();
    clearTimeout(waiting);
    waiting = setTimeout(rest, PAUSE);
  }

  function rest() {
    for (const [name, html] of unsaid) if (target(name).innerHTML !== html) target(name).innerHTML = html;
    unsaid.clear();
    const shown = PARTS.flatMap((part) => written(part, read(location.hash, part))).join();
    const wanted = PARTS.flatMap((part) => written(part)).join();
    if (shown !== wanted) history.replaceState(null, "", `#${wanted}`);
  }

  // ## From the reader to the state

  function set(part, name, value) {
    state[part][name] = value;
    redraw(part);
  }

  for (const part of PARTS) {
    for (const [name, setting] of settings(part)) {
      const control = input(name);
      control.addEventListener("input", () => {
        const value = allowed(setting, setting.stops ? setting.stops[control.value] : control.value);
        // While a number is being typed it may be none yet: then nothing changes, least of all what is being typed.
        if (control.type !== "number" || String(value) === control.value) set(part, name, value);
      });
    }
    document.querySelector(`[data-reset="${part}"]`).addEventListener("click", () => {
      state[part] = initial(part);
      redraw(part);
    });
    for (const again of document.querySelectorAll("[data-again]")) {
      const name = again.dataset.again;
      if (name in state[part]) again.addEventListener("click", () => set(part, name, (state[part][name] % 9999) + 1));
    }
  }

  // A link to a setting sets it, and leads to the figure that shows it.
  function follow(hash) {
    const names = given(hash);
    const block = ([name, setting]) => names.has(name) && (setting.block ?? true);
    let lead = null;
    for (const part of PARTS) {
      state[part] = read(hash, part);
      redraw(part);
      const here = settings(part).map(block).find(Boolean);
      if (here) lead ??= here === true ? part : here;
    }
    const show = () => lead && document.querySelector(`[data-block="${lead}"]`).scrollIntoView();
    show();
    // While a page loads, the browser goes to the link of that name; then to the figure after all.
    if (document.readyState !== "complete") addEventListener("load", () => setTimeout(show), { once: true });
  }

  const sets = (hash) => hash.includes("=");
  for (const link of document.querySelectorAll("article a[href^='#']")) {
    if (!sets(link.hash)) continue;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      history.pushState(null, "", link.hash);
      follow(link.hash);
    });
  }
  addEventListener("hashchange", () => sets(location.hash) && follow(location.hash));
  if (sets(location.hash)) follow(location.hash);
  else PARTS.forEach(setControls); // a browser may remember what they were before
})();
