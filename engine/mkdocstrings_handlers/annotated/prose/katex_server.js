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
    answer = { html };
  } catch (error) {
    answer = { error: error.message, position: error.position ?? 0 };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
