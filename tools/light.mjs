// Bundles style sheets and scripts: reads an order as JSON, writes `assets/built/NAME.HASH.{css,js}`, prints the address of each as JSON.
// {"site": FOLDER, "content": [FILES THAT NAME CLASSES], "theirs": [SHEETS THAT MAY BE PRUNED], "css": {NAME: [SHEETS]}, "js": {NAME: [SCRIPTS]}}
// Sheets and scripts are named from the site's folder on.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as esbuild from "esbuild";
import postcss from "postcss";
import { PurgeCSS } from "purgecss";

const { site, content, theirs, css, js } = JSON.parse(readFileSync(0, "utf8"));
const built = join(site, "assets", "built");
mkdirSync(built, { recursive: true });
const texts = content.map((file) => readFileSync(file, "utf8"));
const read = (file) => readFileSync(join(site, file), "utf8");

// A theme has rules for all that any site may hold: those that no page and no script can meet are left out. Our own sheets stay whole.
async function pruned(sheet) {
  const [{ css: rules }] = await new PurgeCSS().purge({
    css: [{ raw: sheet }],
    content: texts.map((raw) => ({ raw, extension: "html" })),
    defaultExtractor: (text) => text.match(/[\w-]+/g) ?? [],
    keyframes: true,
    safelist: { standard: [/^:/, /^\*$/] },
  });
  const root = postcss.parse(rules);
  removeFonts(root);
  return root.toString();
}

// A font goes that no rule asks for, by its family, or for its bold or italic.
function removeFonts(root) {
  const value = (rule, prop) => rule.nodes.findLast((d) => d.prop === prop)?.value ?? "";
  const faces = [], rules = [];
  root.walkAtRules("font-face", (rule) => faces.push(rule));
  root.walkRules((rule) => rules.push(rule));
  for (const face of faces) {
    const family = value(face, "font-family").replace(/["']/g, "");
    const asked = (prop, values) =>
      !values.includes(value(face, prop)) ||
      rules.some((rule) => values.includes(value(rule, prop)) && [family, ""].includes(value(rule, "font-family").split(",")[0]));
    const named = rules.some((rule) => rule.toString().includes(family));
    if (!(named && asked("font-weight", ["700", "bold"]) && asked("font-style", ["italic"]))) face.remove();
  }
}

// A custom property goes that nothing reads (an icon as a data address, mostly), and then those that only it read.
function removeProperties(root) {
  for (let changed = true; changed; ) {
    changed = false;
    const text = [root.toString(), ...texts].join("\n");
    const names = new Set([...text.matchAll(/(?:var\(\s*|["'])(--[\w-]+)/g)].map((m) => m[1]));
    root.walkDecls(/^--/, (declaration) => {
      if (names.has(declaration.prop)) return;
      declaration.remove();
      changed = true;
    });
  }
}

// Without scripts nobody sets the dark scheme: this copy of its rules is for a reader whose system is dark.
function darkRules(root) {
  const slate = /\[data-md-color-scheme="?slate"?\]/g;
  const copy = postcss.root();
  const walk = (from, to) =>
    from.each((node) => {
      if (node.type === "atrule" && node.name === "media") {
        const inner = node.clone({ nodes: [] });
        walk(node, inner);
        if (inner.nodes.length) to.append(inner);
      } else if (node.type === "rule") {
        const selectors = node.selectors.filter((selector) => selector.search(slate) >= 0);
        if (selectors.length) to.append(node.clone({ selectors: selectors.map((s) => s.replaceAll(slate, "[data-md-color-scheme]")) }));
      }
    });
  walk(root, copy);
  return copy.toString();
}

const addresses = {};
function place(name, extension, text) {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 8);
  const file = `${name}.${hash}.${extension}`;
  writeFileSync(join(built, file), text);
  addresses[`${name}.${extension}`] = `assets/built/${file}`;
}
const minify = async (text, loader) =>
  (await esbuild.transform(text, { loader, minify: true, legalComments: "inline", target: "esnext" })).code;

for (const file of theirs) writeFileSync(join(site, file), await pruned(read(file)));
for (const [name, files] of Object.entries(css)) {
  const { outputFiles } = await esbuild.build({
    stdin: { contents: files.map((file) => `@import "./${file}";`).join("\n"), loader: "css", resolveDir: site },
    bundle: true, write: false, outdir: built, target: "esnext",
    loader: { ".woff2": "dataurl", ".svg": "dataurl", ".png": "dataurl" }, legalComments: "inline", logLevel: "error",
  });
  const root = postcss.parse(outputFiles[0].text);
  // A rule on `*` that holds for one frame makes two looks at the whole page of each change of scheme, the first visit's too.
  root.walkRules(/\[data-md-color-switching\]/, (rule) => rule.remove());
  removeProperties(root);
  place(name, "css", await minify(root.toString(), "css"));
  const dark = darkRules(root);
  if (dark) place(`${name}-dark`, "css", await minify(dark, "css"));
}
// One after another, as the page had them; each is minified alone, so a mistake is reported with its own file's name.
for (const [name, files] of Object.entries(js)) {
  const parts = [];
  for (const file of files) {
    const source = read(file).replace(/^\/\/# sourceMappingURL=.*$/m, "");
    parts.push((file.includes(".min.") ? source : await minify(source, "js")).trim());
  }
  place(name, "js", parts.join("\n;") + "\n");
}
console.log(JSON.stringify(addresses));
