// Copying: a section, a module, or its code only. Downloads are ordinary links and need none of this.
(() => {
  "use strict";
  const blocks = document.querySelectorAll(".annotated"); // a page may show several modules
  if (!blocks.length) return;

  const status = document.createElement("div");
  status.className = "took";
  status.setAttribute("role", "status");
  document.body.append(status);
  let timer;
  const say = (words) => {
    clearTimeout(timer);
    status.textContent = words;
    timer = setTimeout(() => (status.textContent = ""), 2500);
  };

  // Browsers keep the clipboard from pages that came by plain http from another machine; the old way still works there.
  const write = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.style.cssText = "position:fixed;opacity:0";
      const before = document.activeElement;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      before?.focus({ preventScroll: true });
      return done;
    }
  };
  const copy = async (text, what) => {
    const done = text !== undefined && (await write(text));
    say(done ? `Copied ${what}` : "Could not copy: select the text, or download the file");
  };

  for (const block of blocks) offer(block);

  function offer(page) {
    // The texts come in a script, which a page may load from a folder as well. It is asked for when a pointer or the focus comes near.
    const line = page.querySelector(".take[data-script]");
    let asked;
    const texts = () => window.toTake?.[line?.dataset.module];
    const ask = () =>
      (asked ??= new Promise((done) => {
        const script = document.createElement("script");
        script.src = line.dataset.script;
        script.onload = script.onerror = done;
        document.head.append(script);
      }));

    // A section's lines are taken from the source by their numbers, so nothing that is drawn on them comes along. What indents all of them is left out:
    // a demo's lines stand below an `if`, and are pasted where there is none.
    const lines = (code) => {
      const source = texts()?.source.split("\n");
      const all = [...code.querySelectorAll(".l")].map((l) =>
        !l.id ? l.textContent.trimEnd() : source ? source[l.id.match(/\d+$/)[0] - 1] : l.textContent.trimEnd(),
      );
      const indent = Math.min(...all.filter((line) => line.trim()).map((line) => line.search(/\S/)));
      return all.map((line) => line.slice(indent)).join("\n").concat("\n");
    };
    for (const code of page.querySelectorAll(".sec > .code")) {
      const count = code.querySelectorAll(".l").length;
      if (!count) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "corner";
      button.textContent = "copy";
      button.setAttribute("aria-label", `Copy ${count === 1 ? "this line" : `these ${count} lines`}`);
      button.addEventListener("click", async () => {
        if (line && !texts()) await ask();
        copy(lines(code), count === 1 ? "1 line" : `${count} lines`);
      });
      // Beside an introduction stands an outline, and the code begins below it. Imports that are closed are no code to copy.
      const first = code.querySelector(":scope > pre");
      if (first) first.before(button);
      else code.querySelector(":scope > .imports > summary").after(button);
    }

    if (!line) return;
    for (const event of ["pointerover", "focusin", "touchstart"]) {
      page.addEventListener(event, (e) => e.target.closest?.(".corner, .take button") && ask(), { passive: true });
    }
    for (const button of line.querySelectorAll("[data-take]")) {
      button.addEventListener("click", async () => {
        if (!texts()) await ask();
        copy(texts()?.[button.dataset.take], button.getAttribute("aria-label").slice("Copy ".length));
      });
    }
  }
})();
