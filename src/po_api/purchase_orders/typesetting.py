"""Typesets a purchase order: a pure function from text to PDF, called in a worker process (`typesetter`).

The typst template lays out text that it reads as JSON, so that no text is interpreted as markup. The result depends on
the input alone: no clock, no system fonts, no network.
"""

import json
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import fontpkg
import noto_cjk_sans_otc
import typst

from po_api.purchase_orders.domain import CURRENT_TEMPLATE

# Each order keeps the version of the template that it was issued with. Released templates are never edited: a change of
# the layout, or of the texts that the template reads, is a new file. All are read once, since an upgrade of the package
# may replace them.
_TEMPLATES = {
    version: (resources.files("po_api.purchase_orders") / "templates" / f"purchase_order_{version}.typ").read_bytes()
    for version in range(1, CURRENT_TEMPLATE + 1)
}

# With tags a line takes 2.4 kB instead of 0.15 kB.
_TAGGED_LINES = 500


def typeset(printed: bytes, template: int, logo: bytes | None = None) -> bytes:
    """The PDF/A of the output of `sheets.printed`, tagged for screen readers up to 500 lines.

    `logo` is a PNG image, which the first template does not print.
    The same data always gives the same bytes. CPU-bound, and thread-safe.
    """
    order = json.loads(printed)
    source, day = _TEMPLATES[template], order["mark"]["day"] if order["mark"] else order["issued_on"]
    tagged = len(order["lines"]) <= _TAGGED_LINES
    # Inputs of templates are texts: a JSON array of the bytes is read faster than any other form of them.
    inputs = {"document": printed.decode()} | ({} if logo is None else {"logo": json.dumps(list(logo))})
    try:
        return _compile(source, inputs, day, tagged=tagged, standard="a-2a" if tagged else "a-2u")
    except typst.TypstError:
        # PDF/A forbids characters without a glyph, such as those for private use. Without the standard they are printed
        # as boxes; any other error is raised again.
        return _compile(source, inputs, day, tagged=tagged, standard=None)


def _compile(
    source: bytes, inputs: dict[str, str], day: str, *, tagged: bool, standard: Literal["a-2a", "a-2u"] | None
) -> bytes:
    return typst.compile(
        source,
        font_paths=_fonts(),
        sys_inputs=inputs,
        pdf_standards=[] if standard is None else [standard],
        pdf_tags=tagged,
        timestamp=datetime.fromisoformat(day).replace(tzinfo=UTC),
    )


def forget() -> None:
    """Empty typst's cache, which drops entries that the last ten documents, here empty ones, did not use."""
    for _ in range(11):
        typst.compile(b"", font_paths=_fonts())


@cache
def _fonts() -> typst.Fonts:
    """The packaged fonts, opened once per process: opening takes longer than typesetting a short order."""
    latin, arabic = (fontpkg.family(name).files[0].path.parent for name in ("Noto Sans", "Noto Sans Arabic"))
    cjk, others = Path(str(noto_cjk_sans_otc.FONT_PATH)).parent, Path(str(resources.files("manimgx_fonts")))
    # The last folder also has smaller editions of the first two fonts: of several with one name, the first is used.
    folders = [latin, arabic, cjk, others]
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=folders)
