"""Bars as SVG: one group per scenario, one bar per server."""

from collections.abc import Mapping
from html import escape

_COLOURS = ("#2f6f9f", "#8fb339", "#c8553d", "#888888")
_WIDTH, _LEFT, _BAR, _GAP, _TOP = 760, 190, 18, 18, 56


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """`groups` maps a scenario to its servers' values."""
    largest = max(value for group in groups.values() for value in group.values())
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    parts, y = _legend(names), _TOP
    for scenario, group in groups.items():
        parts.append(_text(_LEFT - 10, y + len(group) * _BAR / 2 + 4, scenario, anchor="end"))
        for name, value in group.items():
            width = max(1, (_WIDTH - _LEFT - 80) * value / largest)
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{colour}"/>')
            parts.append(_text(_LEFT + width + 6, y + _BAR - 5, f"{value:.2f} {unit}"))
            y += _BAR
        y += _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}"'
        f' font-family="sans-serif" font-size="13" role="img"><title>{escape(title)}</title>'
        f'<rect width="{_WIDTH}" height="{y}" fill="white"/>{_text(10, 20, title, weight="bold")}'
        f"{''.join(parts)}</svg>\n"
    )


def _legend(names: list[str]) -> list[str]:
    parts, x = [], float(_LEFT)
    for number, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="30" width="12" height="12" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
        parts.append(_text(x + 17, 41, name))
        x += 40 + 8 * len(name)
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
