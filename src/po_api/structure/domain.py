"""The rules of hierarchies: no cycles, and a limited number of levels."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from po_api.core.hierarchy import Parents, height, path_to_root
from po_api.structure.errors import HierarchyCycle, HierarchyTooDeep

MAX_LEVELS = 10
MAX_GROUP_MEMBERS = 200


class Classified(Protocol):
    """What may name a category and a cost centre."""

    @property
    def category_id(self) -> int | None: ...

    @property
    def cost_centre_id(self) -> int | None: ...


class Classification(NamedTuple):
    """A category and a cost centre, if there are any."""

    category_id: int | None
    cost_centre_id: int | None


def given_ids(ids: Iterable[int | None]) -> set[int]:
    """Those of the ids that are given."""
    return {given for given in ids if given is not None}


def require_place(parents: Parents, node: int | None, parent: int) -> None:
    """Raise HierarchyCycle or HierarchyTooDeep unless the node, with all below it, can be placed below `parent`.

    `node` is None for a new one.
    """
    path = list(path_to_root(parents, parent))
    if node in path:
        raise HierarchyCycle
    levels = 1 if node is None else height(parents, node)
    if len(path) + levels > MAX_LEVELS:
        raise HierarchyTooDeep
