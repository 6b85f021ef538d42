"""Bands of amounts that look like a mistake: they overlap, or leave a gap between them.

Compared are the rules of one stage whose conditions differ in the band only. Where none of them has an upper bound,
each adds people from its amount on, and nothing is wrong. The same band twice is one that several people decide.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby, pairwise
from typing import NamedTuple

from po_api.approval_policies.rules import Conditions, Rule
from po_api.core.errors import FieldError


class _Band(NamedTuple):
    """The amounts of a rule from `low` up to `high`, which is not included; None is no bound."""

    low: Decimal
    high: Decimal | None
    place: int


def band_errors(rules: Sequence[Rule], *, location: str) -> list[FieldError]:
    """An error for each band that begins before or after the end of the one below it; at the place of the rule."""
    tiers: dict[tuple[int, Conditions], list[_Band]] = {}
    for place, rule in enumerate(rules):
        conditions = rule.conditions
        if conditions.total_gte is None and conditions.total_lt is None:
            continue
        others = rule.stage, replace(conditions, total_gte=None, total_lt=None)
        band = _Band(conditions.total_gte or Decimal(0), conditions.total_lt, place)
        tiers.setdefault(others, []).append(band)
    found = [error for bands in tiers.values() for error in _of(bands, location)]
    return sorted(found, key=lambda error: error.pointer)


def _of(bands: Sequence[_Band], location: str) -> Iterator[FieldError]:
    if all(band.high is None for band in bands):
        return
    in_order = sorted(bands, key=lambda band: (band.low, band.high is None, band.high or 0))
    different = [next(same) for _, same in groupby(in_order, key=lambda band: (band.low, band.high))]
    for below, band in pairwise(different):
        pointer = f"/rules/{band.place}/conditions/total_gte"
        if below.high is None or band.low < below.high:
            detail = f"the band begins at {band.low:f}, inside another one of its stage"
            yield FieldError(pointer, "band_overlap", detail, location)
        elif band.low > below.high:
            detail = f"amounts from {below.high:f} up to {band.low:f} are in no band of the stage"
            yield FieldError(pointer, "band_gap", detail, location)
