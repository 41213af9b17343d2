"""From sections to HTML, Markdown and notebooks."""
