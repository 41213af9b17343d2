// One formula per line in (JSON: {tex, display, macros}), one answer per line out (JSON: {html} or {error, position}).
const katex = require(process.argv[2]);

require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { tex, display, macros } = JSON.parse(line);
  let answer;
  try {
    const html = katex.renderToString(tex, {
      displayMode: display,
      output: "htmlAndMathml",
      throwOnError: true,
      macros: { ...macros },
      // `\htmlData` is what ties a symbol to a name; everything else that reaches into the page stays shut.
      trust: ({ command }) => {
        if (command === "\\htmlData") return true;
        throw new Error(`${command} is not allowed here`);
      },
      strict: (code) => (code === "htmlExtension" ? "ignore" : "error"),
    });
    // What is to be seen is not for a search index: the MathML beside it has each sign once. That the element has a name of
    // its own lets the index tell where it ends.
    const shown = html
      .replace('<span class="katex-html"', '<katex-shown data-search-exclude="true"><span class="katex-html"')
      .replace(/<\/span>$/, "</katex-shown></span>");
    answer = { html: display ? html : shown };
  } catch (error) {
    answer = { error: error.message, position: error.position ?? 0 };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
