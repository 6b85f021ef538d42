"""Documentation: the pages that the code and the documentation refer to exist."""

import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
_TEXTS = ("src/**/*.py", "tests/**/*", "alembic/**/*.py", "docs/**/*.md", "pyproject.toml", "Makefile", "README.md")
_MENTION = re.compile(r"(?<![\w*])[\w./-]*\w\.md\b")


def _texts() -> Iterator[Path]:
    for pattern in _TEXTS:
        yield from (path for path in sorted(PROJECT.glob(pattern)) if path.suffix in {"", ".py", ".md", ".toml"})


def _exists(mention: str, of: Path) -> bool:
    """A path relative to the root or to the page that mentions it, or the name of a documentation page."""
    places = (PROJECT, of.parent, PROJECT / "docs", PROJECT / "docs" / "development")
    return any((place / mention).is_file() for place in places)


def test_every_page_that_is_mentioned_exists() -> None:
    missing = {
        f"{path.relative_to(PROJECT)}: {mention}"
        for path in _texts()
        if path.is_file() and path != Path(__file__)
        for mention in _MENTION.findall(path.read_text())
        if not _exists(mention, path)
    }
    assert sorted(missing) == []
