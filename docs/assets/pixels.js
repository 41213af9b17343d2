// The pixels of a figure come after its page's text.
for (const waiting of document.querySelectorAll("foreignObject > noscript")) waiting.outerHTML = waiting.textContent;
