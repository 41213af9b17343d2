"""Extensions of Markdown: formulas, links, citations."""
