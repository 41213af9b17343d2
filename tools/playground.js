// Write the playground's first setting as HTML, for docs/playground.md to include: node tools/playground.js FOLDER
"use strict";
const { mkdirSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

for (const name of ["math", "draw", "view"]) require(`../docs/assets/playground-${name}.js`);

const [folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
for (const [name, html] of Object.entries(globalThis.labmlView.blocks())) {
  writeFileSync(join(folder, `${name}.html`), `${html}\n`);
}
