"""Some tests find more the longer they run: races, which may end well by chance, and generated examples.

`make test` runs a part, `make test-server` all of it.
"""

import os

import pytest

_FEW, _MANY = 3, 12
_PART = 3

# A parameter `turn` of a test: some turns in `make test`, the others are exhaustive tests.
in_turns = pytest.mark.parametrize(
    "turn", [*range(_FEW), *(pytest.param(turn, marks=pytest.mark.exhaustive) for turn in range(_FEW, _MANY))]
)


def part_of(examples: int) -> int:
    """How many of so many examples are generated, by a test that runs on the installed PostgreSQL, too."""
    return examples if os.environ.get("PO_TEST_POSTGRES") == "system" else examples // _PART
