"""The rules of hierarchies, on any moves of nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.hierarchy import height, path_to_root
from po_api.structure.domain import MAX_LEVELS, require_place
from po_api.structure.errors import HierarchyCycle, HierarchyTooDeep

_NODES = st.integers(1, 24)


@given(st.lists(st.tuples(_NODES, _NODES), max_size=80))
def test_no_sequence_of_moves_makes_a_cycle_or_too_many_levels(moves: list[tuple[int, int]]) -> None:
    parents: dict[int, int | None] = dict.fromkeys(range(1, 25))
    for node, parent in moves:
        moved = parents | {node: parent}
        levels = max(len(list(path_to_root(moved, each))) for each in moved)
        is_cycle = node in path_to_root(parents, parent)
        try:
            require_place(parents, node, parent)
        except HierarchyCycle:
            assert is_cycle
        except HierarchyTooDeep:
            assert not is_cycle
            assert levels > MAX_LEVELS
        else:
            assert not is_cycle
            assert levels <= MAX_LEVELS
            parents = moved
    roots = [node for node, parent in parents.items() if parent is None]
    assert max(height(parents, root) for root in roots) <= MAX_LEVELS
    assert all(list(path_to_root(parents, node))[-1] in roots for node in parents)


def test_a_new_node_adds_a_level() -> None:
    chain: dict[int, int | None] = {1: None, **{node: node - 1 for node in range(2, MAX_LEVELS + 1)}}
    require_place(chain, None, MAX_LEVELS - 1)
    with pytest.raises(HierarchyTooDeep):
        require_place(chain, None, MAX_LEVELS)
