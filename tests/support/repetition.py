"""Races are run several times, since they may end well by chance."""

import pytest

_FEW, _MANY = 3, 20

# A parameter `turn` of a test: some turns in `make test`, the others are exhaustive tests.
in_turns = pytest.mark.parametrize(
    "turn", [*range(_FEW), *(pytest.param(turn, marks=pytest.mark.exhaustive) for turn in range(_FEW, _MANY))]
)
