// The playground's figures: numbers in, SVG out. Colours are classes, so that the style sheet and the theme decide them.
(() => {
  "use strict";
  const WIDTH = 360;
  const round = (v) => Math.round(v * 10) / 10;
  const svg = (height, inside, label) => `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${inside}</svg>`;
  const text = (x, y, words, anchor = "middle") => `<text x="${round(x)}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  const rule = (x1, y1, x2, y2, kind) => `<path class="${kind}" d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}"/>`;

  // The next number that begins with 1, 2 or 5: an axis that keeps still while the weights move a little.
  function ceiling(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return Number((power * [1, 2, 5, 10].find((d) => d * power >= value * 0.9999)).toPrecision(1));
  }
  const tick = (v) => String(Number(v.toPrecision(2))).replace("-", "−");

  // ## A histogram over an axis that is symmetric around zero, with mean and standard deviation below it

  const BINS = 56; // of six units each
  const FLOOR = 118;

  function histogram(values, { mean, std }, kind, least = 0) {
    const limit = Math.max(ceiling(values.reduce((most, v) => Math.max(most, Math.abs(v)), 0) || 1), least);
    const place = (v) => 12 + ((v + limit) / (2 * limit)) * (WIDTH - 24);
    const counts = new Array(BINS).fill(0);
    for (const v of values) counts[Math.min(BINS - 1, Math.floor(((v + limit) / (2 * limit)) * BINS))]++;
    const highest = Math.max(...counts);
    const step = (WIDTH - 24) / BINS;
    // A single weight is to be seen among thousands, so no bar is lower than a line.
    const bar = (count, i) => {
      const height = round(Math.max((count / highest) * 108, 1.5));
      return count ? `M${12 + i * step} ${FLOOR}v-${height}h5.4v${height}z` : "";
    };
    const [left, right] = [mean - std, mean + std].map((v) => Math.min(Math.max(place(v), 2), WIDTH - 2));
    return svg(
      166,
      rule(12, FLOOR, WIDTH - 12, FLOOR, "axis")
        + rule(place(0), 8, place(0), FLOOR + 5, "zero")
        + `<path class="bars ${kind}" d="${counts.map(bar).join("")}"/>`
        + rule(left, 131, right, 131, `spread ${kind}`)
        + `<circle class="dot ${kind}" cx="${round(place(mean))}" cy="131" r="3.5"/>`
        + text(12, 156, tick(-limit), "start") + text(WIDTH / 2, 156, "0") + text(WIDTH - 12, 156, tick(limit), "end"),
      kind === "raw" ? "Histogram of the raw weights" : "Histogram of the standardized weights",
    );
  }

  // ## Lines over the steps, with the value for all images as a dashed rule

  function lines(series, truth) {
    const values = Object.values(series).flat();
    const highest = Math.max(...values, truth);
    const lowest = Math.min(...values, 0);
    const unit = ceiling((highest - lowest) / 4);
    const [bottom, top] = [Math.floor(lowest / unit) * unit, Math.ceil(highest / unit) * unit];
    const [left, right, upper, lower] = [34, WIDTH - 6, 10, 160];
    const count = Object.values(series)[0].length;
    const x = (i) => round(left + ((right - left) * i) / (count - 1));
    const y = (v) => round(lower - ((lower - upper) * (v - bottom)) / (top - bottom));
    const line = (one) => one.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join("");
    const dots = (one) => one.map((v, i) => `M${x(i)} ${y(v)}h0`).join("");
    const drawn = Object.entries(series).map(([name, one]) => {
      if (name === "dots") return `<path class="points raw" d="${dots(one)}"/>`;
      return `<path class="line ${name === "estimated" ? "hat" : "raw"}" d="${line(one)}"/>`;
    });
    const ticks = [];
    for (let v = bottom; v <= top + unit / 2; v += unit) ticks.push(text(left - 6, y(v) + 4, tick(v), "end"));
    return svg(
      198,
      rule(left, lower, right, lower, "axis") + ticks.join("") + drawn.join("") + rule(left, y(truth), right, y(truth), "truth")
        + text(left, 178, "1", "start") + text((left + right) / 2, 194, "step") + text(right, 178, String(count), "end"),
      "dots" in series ? "Mean of the channel over the steps" : "Variance of the channel over the steps",
    );
  }

  // ## One bar, divided

  function shares({ mean, along, kept }) {
    let at = 0;
    const part = ([kind, share]) => {
      const width = Math.max(share, 0) * 720;
      const one = `<rect class="${kind}" x="${round(at)}" y="0" width="${round(Math.max(width - 1.5, 0))}" height="26"/>`;
      at += width;
      return one;
    };
    const bar = Object.entries({ "share-mean": mean, "share-along": along, "share-kept": kept }).map(part).join("");
    return `<svg viewBox="0 0 720 26" preserveAspectRatio="none" role="img" aria-label="Shares of the gradient’s squared length">${bar}</svg>`;
  }

  globalThis.labmlDraw = { histogram, lines, shares };
})();
