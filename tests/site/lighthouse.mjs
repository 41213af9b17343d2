// Runs Lighthouse on each address given, in one Chromium, and prints a line of JSON for each: its scores, what was measured, what fell short.
// node tests/site/lighthouse.mjs '{"chrome": PATH, "flags": [...], "categories": [...], "times": 3, "cpu": 4}' ADDRESS ...
import { launch } from "chrome-launcher";
import lighthouse from "lighthouse";
import * as constants from "lighthouse/core/config/constants.js";

const [options, ...addresses] = process.argv.slice(2);
const { chrome, flags, categories, times, cpu } = JSON.parse(options);
const MEASURED = {
  fcp: "first-contentful-paint",
  lcp: "largest-contentful-paint",
  tbt: "total-blocking-time",
  cls: "cumulative-layout-shift",
  si: "speed-index",
};
const browser = await launch({ chromePath: chrome, chromeFlags: flags, logLevel: "silent" });
try {
  for (const address of addresses) {
    for (let run = 0; run < times; run++) {
      const { lhr } = await lighthouse(address, {
        port: browser.port, onlyCategories: categories, logLevel: "silent", disableFullPageScreenshot: true,
        throttling: { ...constants.throttling.mobileSlow4G, cpuSlowdownMultiplier: cpu },
      });
      const scores = Object.fromEntries(Object.values(lhr.categories).map((c) => [c.id, c.score]));
      const measured = Object.fromEntries(
        Object.entries(MEASURED).filter(([, id]) => lhr.audits[id]).map(([name, id]) => [name, lhr.audits[id].numericValue]),
      );
      // What takes points, and where.
      const short = Object.values(lhr.categories).flatMap((category) =>
        category.auditRefs
          .map((ref) => ({ weight: ref.weight, category: category.id, ...lhr.audits[ref.id] }))
          .filter((a) => a.weight > 0 && a.score !== null && a.score < 1 && category.id !== "performance")
          .map((a) => `${a.id}: ${a.title} ${JSON.stringify((a.details?.items ?? []).slice(0, 3).map((i) => i.node?.snippet ?? i.description ?? i))}`),
      );
      console.log(JSON.stringify({ address, error: lhr.runtimeError?.message ?? null, scores, measured, short }));
    }
  }
} finally {
  browser.kill();
}
