"""The search index of a built site."""

from pathlib import Path


def find(site: Path) -> tuple[Path, str]:
    """MkDocs' index and what it calls its entries, or Zensical's, where an entry also says where in the navigation it is."""
    index = site / "search" / "search_index.json"
    return (index, "docs") if index.is_file() else (site / "search.json", "items")
