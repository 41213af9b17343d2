// The playground's arithmetic: functions from numbers to numbers, without a page and without a drawing.
// A test gives each the same arrays as the function of labml_ws that it stands for, and compares.
(() => {
  "use strict";

  const EPS = 1e-5; // the default of every layer here

  // ## Numbers to play with

  // A number stands for each draw, so that a link shows the same picture to whoever opens it: mulberry32, and Box and
  // Muller's way from two uniform numbers to two normal ones.
  function normals(seed, count) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    const drawn = new Float64Array(count + (count % 2));
    for (let i = 0; i < count; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform())); // 1 - u is never zero
      const angle = 2 * Math.PI * uniform();
      drawn[i] = radius * Math.cos(angle);
      drawn[i + 1] = radius * Math.sin(angle);
    }
    return drawn.subarray(0, count);
  }

  // One filter. Outliers stand `size` scales above the mean.
  function filter({ fan, mean, scale, outliers, size, draw }) {
    const place = (z, i) => mean + scale * (i < outliers ? size : z);
    return normals(draw, fan).map(place);
  }

  // A patch of the input, as large as the filter `w`: standard normal numbers; the same behind a ReLU; or with the
  // filter's own pattern added, which is what it looks for.
  function patch({ draw, input }, w) {
    const drawn = normals(draw + 1_000_003, w.length);
    if (input === "relu") return drawn.map((z) => Math.max(z, 0));
    if (input === "match") return standardize(w, 0).map((v, i) => v + drawn[i]);
    return drawn;
  }

  // A stream of images, one channel of each: `center`, plus a level that all positions of an image share, plus what
  // differs from position to position. An image is the same whatever the batch size.
  const POSITIONS = 16; // 4 by 4, as late in a network
  const STEPS = 300;
  let kept = { key: "" };
  function stream({ images, center, between, within, sample }) {
    const key = `${sample} ${images}`;
    if (kept.key !== key) kept = { key, drawn: normals(sample, STEPS * images * (POSITIONS + 1)) };
    const { drawn } = kept;
    const x = new Float64Array(STEPS * images * POSITIONS);
    for (let i = 0, from = 0, to = 0; i < STEPS * images; i++) {
      const level = center + Math.sqrt(between) * drawn[from++];
      for (let p = 0; p < POSITIONS; p++) x[to++] = level + Math.sqrt(within) * drawn[from++];
    }
    return x;
  }

  // ## Weight Standardization

  // Loops, as the ones below run over a hundred thousand numbers while a reader drags a slider.
  function sum(values, of = (v) => v) {
    let total = 0;
    for (let i = 0; i < values.length; i++) total += of(values[i], i);
    return total;
  }
  const mean = (values, of) => sum(values, of) / values.length;
  const dot = (a, b) => sum(a, (v, i) => v * b[i]);
  const norm = (a) => Math.sqrt(dot(a, a));
  const cosine = (a, b) => dot(a, b) / (norm(a) * norm(b));

  // The variance with 1/I, in two passes: not as a difference of two large numbers.
  function moments(values) {
    const m = mean(values);
    const variance = mean(values, (v) => (v - m) ** 2);
    const std = Math.sqrt(variance);
    return { mean: m, variance, std, rms: Math.hypot(m, std) };
  }

  const largest = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

  function standardize(w, eps = EPS) {
    const { mean: m, variance } = moments(w);
    const s = Math.sqrt(variance + eps);
    return w.map((v) => (v - m) / s);
  }

  // The standard deviation in single precision, in two passes and by the shortcut √(mean(w²) − mean(w)²).
  function single(w) {
    const f = Math.fround;
    const average = (of) => f(w.reduce((total, v) => f(total + of(f(v))), 0) / w.length);
    const m = average((v) => v);
    const square = average((v) => f(v * v));
    return {
      twoPasses: f(Math.sqrt(average((v) => f(f(v - m) * f(v - m))))),
      shortcut: f(Math.sqrt(f(square - f(m * m)))),
    };
  }

  // Mean and spread of w·x over all inputs x, exactly. A standard normal number behind a ReLU has mean 1/√(2π) and
  // mean square 1/2.
  function outputs(w) {
    const length = norm(w);
    const lit = 1 / Math.sqrt(2 * Math.PI);
    return {
      normal: { mean: 0, std: length },
      relu: { mean: lit * sum(w), std: length * Math.sqrt(0.5 - lit ** 2) },
    };
  }

  // From g = ∂L/∂Ŵ to ∂L/∂W, one operation at a time, and the share of g's squared length that each of the two
  // subtractions takes.
  function gradient(w, g, eps = EPS) {
    const hat = standardize(w, eps);
    const middle = mean(g);
    const centered = g.map((v) => v - middle);
    const along = mean(g, (v, i) => v * hat[i]);
    const sideways = centered.map((v, i) => v - hat[i] * along);
    const s = Math.sqrt(moments(w).variance + eps);
    const [all, second, third] = [g, centered, sideways].map((v) => dot(v, v));
    return {
      centered,
      sideways,
      arriving: sideways.map((v) => v / s),
      shares: { mean: (all - second) / all, along: (second - third) / all, kept: third / all },
    };
  }

  // ## Batch statistics and estimated ones

  // One step of the running statistics over the values x of a batch, as labml_ws.EstimatedBatchNorm takes it: the
  // variance around the *old* running mean.
  function estimate(running, x, r) {
    const own = moments(x);
    const around = own.variance + (own.mean - running.mean) ** 2;
    return step(running, own.mean, around, r);
  }

  // The same with the variance around the batch's own mean.
  function estimateAroundOwn(running, x, r) {
    const own = moments(x);
    return step(running, own.mean, own.variance, r);
  }

  // What torch's BatchNorm keeps for evaluation: the batch's own variance, with n − 1.
  function batchNormRunning(running, x, r) {
    const own = moments(x);
    return step(running, own.mean, (own.variance * x.length) / (x.length - 1), r);
  }

  const step = (running, m, variance, r) => ({
    mean: running.mean + r * (m - running.mean),
    variance: running.variance + r * (variance - running.variance),
  });

  function normalize(x, { mean: m, variance }, eps = EPS) {
    const s = Math.sqrt(variance + eps);
    return x.map((v) => (v - m) / s);
  }

  // What the outputs of many images look like, and how far the images' levels still differ.
  function levels(y) {
    const image = (_, i) => mean(y.subarray(i * POSITIONS, (i + 1) * POSITIONS));
    return { ...moments(y), levels: moments(Array.from({ length: y.length / POSITIONS }, image)).std };
  }

  // All steps, by each of three kinds: with the batch's own statistics, and with the two estimates.
  function train(x, images, r) {
    const size = images * POSITIONS;
    const kinds = { own: [], estimated: [], aroundOwn: [] };
    const y = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, new Float64Array(x.length)]));
    const evaluation = [];
    const start = { mean: 0, variance: 1 };
    for (let at = 0; at < x.length; at += size) {
      const batch = x.subarray(at, at + size);
      kinds.own.push(moments(batch));
      kinds.estimated.push(estimate(kinds.estimated.at(-1) ?? start, batch, r));
      kinds.aroundOwn.push(estimateAroundOwn(kinds.aroundOwn.at(-1) ?? start, batch, r));
      evaluation.push(batchNormRunning(evaluation.at(-1) ?? start, batch, r));
      for (const [kind, steps] of Object.entries(kinds)) y[kind].set(normalize(batch, steps.at(-1)), at);
    }
    return { ...kinds, evaluation, y };
  }

  globalThis.labmlWS = {
    EPS, POSITIONS, STEPS, normals, filter, patch, stream, mean, norm, cosine, moments, largest, standardize, single,
    outputs, gradient, estimate, estimateAroundOwn, batchNormRunning, normalize, levels, train,
  };
})();
