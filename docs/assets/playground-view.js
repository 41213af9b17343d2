// What the playground shows for a setting, as HTML. Node runs this file while the site is built and writes the default
// setting into the page, so that there is a figure without JavaScript; the browser runs it for every other setting.
(() => {
  "use strict";
  const ws = globalThis.labmlWS;

  // ## Settings: what each may be, and what it is at first

  const scale = (from, to) => {
    const stops = [];
    for (let k = from; k < to; k++) stops.push(...[1, 2, 5].map((d) => Number(`${d}e${k}`)));
    return [...stops, Number(`1e${to}`)];
  };
  const SETTINGS = {
    weights: {
      fan: { label: "Fan-in", first: "576", options: { 9: "9: one 3×3 kernel", 27: "27: 3 channels, 3×3", 144: "144: 16 channels, 3×3", 576: "576: 64 channels, 3×3", 4608: "4608: 512 channels, 3×3" } },
      mean: { label: "Mean", first: 0.05, stops: [0, ...scale(-3, 3)] },
      scale: { label: "Scale", first: 0.05, stops: scale(-4, 1) },
      outliers: { label: "Outliers", first: 0, stops: [0, 1, 2, 3, 4, 5, 6, 7, 8] },
      size: { label: "Their distance, in scales", first: 20, stops: [5, 10, 20, 50, 100] },
      input: { label: "One output, for an input", block: "gradient", first: "relu", options: { normal: "standard normal", relu: "behind a ReLU", match: "the filter’s own pattern" } },
      draw: { label: "Draw", first: 1 },
    },
    stream: {
      images: { label: "Images per step", first: 1, stops: [1, 2, 4, 8, 16, 32] },
      center: { label: "Mean of the channel", first: 5, stops: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
      between: { label: "Variance between images", first: 1, stops: [0, 0.1, 0.2, 0.5, 1, 2, 4] },
      within: { label: "Variance within an image", first: 1, stops: [0.1, 0.2, 0.5, 1, 2, 4] },
      r: { label: "Share r of a new batch", first: 0.1, stops: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1] },
      sample: { label: "Draw", first: 1 },
    },
  };
  const LEGENDS = { weights: "The filter", gradient: "The loss", stream: "The images" };
  const settings = (part) => Object.entries(SETTINGS[part]);
  const initial = (part) => Object.fromEntries(settings(part).map(([name, { first }]) => [name, first]));

  function control(name, { label, first, stops, options }) {
    const id = `set-${name}`;
    const head = `<label for="${id}">${label}</label>`;
    if (options) {
      const one = ([value, text]) => `<option value="${value}"${value === first ? " selected" : ""}>${text}</option>`;
      return `<div class="pg-control">${head}<select id="${id}" name="${name}">${Object.entries(options).map(one).join("")}</select></div>`;
    }
    if (!stops) {
      return `<div class="pg-control pg-draw">${head}<input type="number" id="${id}" name="${name}" min="1" max="9999" value="${first}">`
        + `<button type="button" data-again="${name}">Draw again</button></div>`;
    }
    const range = `<input type="range" id="${id}" name="${name}" max="${stops.length - 1}" value="${stops.indexOf(first)}" aria-valuetext="${first}">`;
    return `<div class="pg-control">${head}<output for="${id}" aria-live="off">${first}</output>${range}</div>`;
  }

  function controls(part, block = part) {
    const here = settings(part).filter(([, setting]) => (setting.block ?? part) === block);
    const reset = block === part ? `<button type="button" data-reset="${part}">Reset</button>` : "";
    return `<fieldset class="pg-controls"><legend>${LEGENDS[block]}</legend>${here.map(([name, setting]) => control(name, setting)).join("")}${reset}</fieldset>`;
  }

  // ## Numbers: three digits, and powers of ten where those would hide behind zeros

  function show(value) {
    if (Number.isNaN(value)) return "NaN";
    const size = Math.abs(value);
    if (size < 1e-8) return "0"; // what is left of a sum that should be zero
    const sign = value < 0 ? "−" : "";
    if (size >= 1e-3 && size < 1e6) return sign + (size >= 999.5 ? size.toFixed(0) : size.toPrecision(3));
    const [digits, power] = size.toExponential(1).split("e");
    return `${sign}${digits}·10<sup>${power.replace("+", "").replace("-", "−")}</sup>`;
  }
  const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
  // A mean has the decimals of the spread around it; more would be noise.
  function spread({ mean, std }) {
    const decimals = Math.max(0, 2 - Math.floor(Math.log10(std)));
    const rounded = Number(mean.toFixed(decimals));
    return `${rounded ? mean.toFixed(decimals).replace("-", "−") : "0"} ± ${show(std)}`;
  }

  function table(caption, heads, rows) {
    const cells = (row) => row.map((cell) => `<td>${cell}</td>`).join("");
    return `<table class="pg-numbers"><caption>${caption}</caption><thead><tr><td></td>${heads.map((head) => `<th scope="col">${head}</th>`).join("")}</tr></thead>`
      + `<tbody>${rows.map(([name, ...row]) => `<tr><th scope="row">${name}</th>${cells(row)}</tr>`).join("")}</tbody></table>`;
  }

  // ## Weights

  function weights(setting) {
    const { histogram, shares } = globalThis.labmlDraw;
    const w = ws.filter({ ...setting, fan: Number(setting.fan) });
    const hat = ws.standardize(w);
    const g = ws.patch(setting, w);
    const flow = ws.gradient(w, g);
    const [before, after] = [w, hat].map(ws.moments);
    const [raw, standardized] = [w, hat].map(ws.outputs);
    const float32 = ws.single(w);
    const row = (name, of) => [name, show(of(before)), show(of(after))];
    const stages = [g, flow.centered, flow.sideways, flow.arriving];
    const eps = ws.EPS / (before.variance + ws.EPS);
    return {
      before: histogram(w, before, "raw"),
      after: histogram(hat, after, "hat", 5),
      "weights-said": `Mean ${show(before.mean)} and standard deviation ${show(before.std)} become ${show(after.mean)} and ${show(after.std)}.`,
      "weights-numbers": table("One filter, before and after", ["raw <i>W</i>", "standardized <i>Ŵ</i>"], [
        row("mean", (m) => m.mean),
        row("standard deviation", (m) => m.std),
        row("root mean square", (m) => m.rms),
        ["largest weight", show(ws.largest(w)), show(ws.largest(hat))],
        ["output, normal input", spread(raw.normal), spread(standardized.normal)],
        ["output, input behind a ReLU", spread(raw.relu), spread(standardized.relu)],
        ["std in float32, two passes", show(float32.twoPasses), ""],
        ["std in float32, shortcut", show(float32.shortcut), ""],
        ["ε’s share of σ² + ε", "", percent(eps)],
      ]),
      flow: shares(flow.shares),
      "flow-said": `<span class="share-mean">${percent(flow.shares.mean)}</span> goes with the mean, <span class="share-along">${percent(flow.shares.along)}</span> with the part along the filter; <span class="share-kept">${percent(flow.shares.kept)}</span> is kept.`,
      "flow-numbers": table("The gradient on its way from Ŵ to W", ["at <i>Ŵ</i>", "− mean", "− part along\u00a0<i>Ŵ</i>", "÷ √(σ²+ε), at\u00a0<i>W</i>"], [
        ["length", ...stages.map((v) => show(ws.norm(v)))],
        ["mean", ...stages.map((v) => show(ws.mean(v)))],
        ["cosine with <i>W</i>", ...stages.map((v) => show(ws.cosine(v, w)))],
      ]),
    };
  }

  // ## Batches

  const SETTLED = 200; // the numbers are those of the steps after this one

  function stream(setting) {
    const { lines } = globalThis.labmlDraw;
    const { images, center, between, within, r } = setting;
    const x = ws.stream(setting);
    const run = ws.train(x, images, r);
    const all = { mean: center, variance: between + within };
    const settled = (values) => values.slice((values.length / ws.STEPS) * SETTLED);
    const column = (kind) => ({ statistics: settled(run[kind]), ...ws.levels(settled(run.y[kind])) });
    const columns = ["own", "estimated", "aroundOwn"].map(column);
    const variance = (statistics) => ws.mean(statistics.map((s) => s.variance));
    const evaluation = variance(settled(run.evaluation));
    const [own, estimated, aroundOwn] = columns.map(({ statistics }) => variance(statistics));
    const ideal = ws.levels(settled(ws.normalize(x, all)));
    const one = images === 1 ? "image" : "images";
    return {
      means: lines({ dots: run.own.map((s) => s.mean), estimated: run.estimated.map((s) => s.mean) }, all.mean),
      variances: lines({ aroundOwn: run.aroundOwn.map((s) => s.variance), estimated: run.estimated.map((s) => s.variance) }, all.variance),
      "stream-said": `At ${images} ${one} per step, BatchNorm divides by a variance of ${show(own)}, the estimate by ${show(estimated)}; all images together have ${show(all.variance)}.`,
      "stream-numbers": table(
        `Averages over steps ${SETTLED + 1} to ${ws.STEPS}`,
        ["batch norm", "estimated", "around batch’s mean", "all images"],
        [
          ["variance, in training", ...[own, estimated, aroundOwn, all.variance].map(show)],
          ["variance, in evaluation", ...[evaluation, estimated, aroundOwn, all.variance].map(show)],
          ["spread of the mean", ...columns.map(({ statistics }) => show(ws.moments(statistics.map((s) => s.mean)).std)), "0"],
          ["output", ...[...columns, ideal].map(spread)],
          ["spread of the images’ levels", ...[...columns, ideal].map((c) => show(c.levels))],
        ],
      ),
    };
  }

  // ## The page's blocks: a figure, its controls, its numbers

  const panel = (title, name, html) => `<figure class="pg-panel"><figcaption>${title}</figcaption><div class="pg-box" data-part="${name}">${html}</div></figure>`;
  const said = (name, html) => `<p class="pg-said" role="status" data-part="${name}">${html}</p>`;
  const numbers = (name, html) => `<div class="pg-table" data-part="${name}">${html}</div>`;
  // Where no script runs there are no controls to say what is shown.
  const shown = (part) => {
    const words = settings(part).map(([, { label, first, options }]) => `${label.toLowerCase()}: ${options?.[first] ?? first}`);
    return `<p class="pg-shown">Without scripts, one setting: ${words.join("; ")}.</p>`;
  };
  // Nobody searches for these numbers. (The search takes up again after the first inner element of the same name: hence a section.)
  const block = (name, ...inside) => `<section class="playground" data-block="${name}" data-search-exclude>${inside.join("")}</section>`;

  function blocks() {
    const w = weights(initial("weights"));
    const s = stream(initial("stream"));
    return {
      weights: block(
        "weights",
        `<div class="pg-figure">${panel('Raw weight <i class="raw">W</i>', "before", w.before)}${panel('Standardized <i class="hat">Ŵ</i>', "after", w.after)}`
        + `${said("weights-said", w["weights-said"])}</div>`,
        shown("weights"),
        controls("weights"),
        numbers("weights-numbers", w["weights-numbers"]),
      ),
      gradient: block(
        "gradient",
        `<div class="pg-figure">${panel("What becomes of the gradient’s squared length", "flow", w.flow)}${said("flow-said", w["flow-said"])}</div>`,
        controls("weights", "gradient"),
        numbers("flow-numbers", w["flow-numbers"]),
      ),
      stream: block(
        "stream",
        `<div class="pg-figure">${panel('Mean: <span class="raw">each batch’s own</span>, <span class="hat">estimated</span>', "means", s.means)}`
        + `${panel('Variance: <span class="raw">around the batch’s mean</span>, <span class="hat">estimated</span>', "variances", s.variances)}${said("stream-said", s["stream-said"])}</div>`,
        shown("stream"),
        controls("stream"),
        numbers("stream-numbers", s["stream-numbers"]),
      ),
    };
  }

  globalThis.labmlView = { settings, initial, views: { weights, stream }, blocks };
})();
