"""Some tests find more the longer they run: races, which may end well by chance, and generated examples.

`make test` runs a part, `make test-server` another one, `make coverage` all of it.
"""

import os

import pytest

_TURNS = 12
_PART = 3


def _marks_of(turn: int) -> list[pytest.MarkDecorator]:
    """Three turns run in `make test`, three in `make test-server`."""
    return [] if turn < 3 else [pytest.mark.exhaustive] if turn < 6 else [pytest.mark.exhaustive, pytest.mark.thorough]


# A parameter `turn` of a test.
in_turns = pytest.mark.parametrize("turn", [pytest.param(turn, marks=_marks_of(turn)) for turn in range(_TURNS)])


def part_of(examples: int) -> int:
    """How many of so many examples are generated, by a test that runs on the installed PostgreSQL, too."""
    return examples if os.environ.get("PO_TEST_POSTGRES") == "system" else examples // _PART
