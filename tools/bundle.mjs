// Bundles style sheets and scripts: reads what to do as JSON, writes `built/NAME.HASH.{css,js}`, prints what became of each as JSON.
// {"assets": FOLDER, "content": [FILES THAT NAME CLASSES], "css": {NAME: [FILES]}, "js": {NAME: [FILES]}, "theirs": [FILES THAT MAY BE PRUNED]}
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as esbuild from "esbuild";
import postcss from "postcss";
import { PurgeCSS } from "purgecss";

const { assets, content, css, js, theirs } = JSON.parse(readFileSync(0, "utf8"));
const built = join(assets, "built");
mkdirSync(built, { recursive: true });
const words = content.map((file) => readFileSync(file, "utf8"));

// A theme has rules for all that any site may hold. What no page and no script names is left out; our own sheets stay whole.
for (const file of theirs) {
  const [{ css: kept }] = await new PurgeCSS().purge({
    css: [{ raw: readFileSync(file, "utf8") }],
    content: words.map((raw) => ({ raw, extension: "html" })),
    defaultExtractor: (text) => text.match(/[\w-]+/g) ?? [],
    keyframes: true,
    safelist: { standard: [/^:/, /^\*$/] },
  });
  const sheet = postcss.parse(kept);
  unasked(sheet);
  writeFileSync(file, sheet.toString());
}

// A font that no rule asks for: by its family, and for its bold or italic.
function unasked(root) {
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

// A custom property that nothing reads any more (an icon as a data address, mostly) goes too, and then those that only it read.
function unread(root) {
  for (let gone = true; gone; ) {
    gone = false;
    const text = [root.toString(), ...words].join("\n");
    const read = new Set([...text.matchAll(/(?:var\(\s*|["'])(--[\w-]+)/g)].map((m) => m[1]));
    root.walkDecls(/^--/, (declaration) => {
      if (read.has(declaration.prop)) return;
      declaration.remove();
      gone = true;
    });
  }
}

// Without scripts nobody sets the dark scheme; this copy of its rules follows the system's.
function dark(root) {
  const copy = postcss.root();
  const walk = (from, to) =>
    from.each((node) => {
      if (node.type === "atrule" && node.name === "media") {
        const inner = node.clone({ nodes: [] });
        walk(node, inner);
        if (inner.nodes.length) to.append(inner);
      } else if (node.type === "rule") {
        const selectors = node.selectors.filter((s) => /\[data-md-color-scheme="?slate"?\]/.test(s));
        if (!selectors.length) return;
        to.append(node.clone({ selectors: selectors.map((s) => s.replaceAll(/\[data-md-color-scheme="?slate"?\]/g, "[data-md-color-scheme]")) }));
      }
    });
  walk(root, copy);
  return copy.toString();
}

const result = {};
function place(name, extension, text) {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 8);
  const file = `${name}.${hash}.${extension}`;
  writeFileSync(join(built, file), text);
  result[name + "." + extension] = `assets/built/${file}`;
}
const minify = async (text, loader) =>
  (await esbuild.transform(text, { loader, minify: true, legalComments: "inline", target: "esnext" })).code;

for (const [name, files] of Object.entries(css)) {
  const { outputFiles } = await esbuild.build({
    stdin: { contents: files.map((f) => `@import "./${f}";`).join("\n"), loader: "css", resolveDir: assets },
    bundle: true, write: false, outdir: built, target: "esnext",
    loader: { ".woff2": "dataurl", ".svg": "dataurl", ".png": "dataurl" }, legalComments: "inline", logLevel: "error",
  });
  const root = postcss.parse(outputFiles[0].text);
  // A rule on `*` that holds for one frame makes two looks at the whole page of each change of scheme, the first visit's too.
  root.walkRules(/\[data-md-color-switching\]/, (rule) => rule.remove());
  unread(root);
  place(name, "css", await minify(root.toString(), "css"));
  const night = dark(root);
  if (night) place(`${name}-dark`, "css", await minify(night, "css"));
}
// One after another, as the page had them; each is minified alone, so a mistake is reported with its own file's name.
for (const [name, files] of Object.entries(js)) {
  const parts = [];
  for (const file of files) {
    const source = readFileSync(join(assets, file), "utf8").replace(/^\/\/# sourceMappingURL=.*$/m, "");
    parts.push(file.includes(".min.") ? source.trim() : (await minify(source, "js")).trim());
  }
  place(name, "js", parts.join("\n;") + "\n");
}
console.log(JSON.stringify(result));
