// A block of code that is wider than its column scrolls; so it must be possible to reach it with the keyboard.
for (const code of document.querySelectorAll(".code pre > code, div.math, figure.output")) {
  if (code.scrollWidth > code.clientWidth + 1) code.tabIndex = 0;
}
