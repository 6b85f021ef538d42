"""The number formats in the styles of a workbook."""

from dataclasses import dataclass

from po_api.porfs.number_formats import BUILT_IN, BY_LOCALE, GENERAL, NumberFormat, built_in, number_format, unclear
from po_api.porfs.xlsx_parts import DamagedFile, PartReader

_MAX_DIGITS = 7
_FALSE = ("0", "false")


@dataclass(frozen=True)
class _Style:
    number: int
    parent: int
    is_own: bool


class Styles(PartReader):
    """styles.xml: the formats by the number of the style, and the conditional styles that have a format."""

    def __init__(self) -> None:
        self.conditional: set[int] = set()
        self._codes: dict[int, str] = {}
        self._styles: dict[str, list[_Style]] = {"cellXfs": [], "cellStyleXfs": []}
        self._section = ""
        self._conditional_count = 0
        self._formats: dict[int, NumberFormat] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("numFmts", "cellXfs", "cellStyleXfs", "dxfs"):
            self._section = name
        elif name == "numFmt" and self._section == "numFmts":
            self._codes[number_of(attributes.get("numFmtId", ""))] = attributes.get("formatCode", "")
        elif name == "dxf":
            self._conditional_count += 1
        elif name == "numFmt" and self._section == "dxfs":
            self.conditional.add(self._conditional_count - 1)
        elif name == "xf" and self._section in self._styles:
            number, parent = (number_of(attributes.get(key, "0")) for key in ("numFmtId", "xfId"))
            is_own = attributes.get("applyNumberFormat", "1") not in _FALSE
            self._styles[self._section].append(_Style(number, parent, is_own))

    def end(self, name: str) -> None:
        if name == self._section:
            self._section = ""

    def format_of(self, style: int) -> NumberFormat:
        """The number format of a style; those that programs could understand differently are unclear."""
        if style not in self._formats:
            self._formats[style] = self._found(style)
        return self._formats[style]

    def _found(self, index: int) -> NumberFormat:
        styles = self._styles["cellXfs"]
        if index >= len(styles):
            return GENERAL if index == 0 else unclear(f"of style {index}, which is missing")
        style, parents = styles[index], self._styles["cellStyleXfs"]
        # Some programs use the format of the parent, others the cell's own one.
        if not style.is_own and style.parent < len(parents) and parents[style.parent].number != style.number:
            return unclear(f"number {style.number}, which is switched off")
        return self._numbered(style.number)

    def _numbered(self, number: int) -> NumberFormat:
        code = self._codes.get(number)
        if code is None:
            return built_in(number) or unclear(f"number {number}")
        # Excel writes the codes of the built-in formats that depend on the locale. Others it does not expect there.
        if number in BUILT_IN and number not in BY_LOCALE and code != BUILT_IN[number]:
            return unclear(code)
        return number_format(code)


def number_of(text: str) -> int:
    """A number of an attribute. Raises DamagedFile."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise DamagedFile
    return int(text)
