"""Hierarchies: the parent of each node, by id. A node without a parent is absent, or has None."""

from collections.abc import Iterator, Mapping

Parents = Mapping[int, int | None]


def path_to_root(parents: Parents, node: int) -> Iterator[int]:
    """The node, its parent, the parent of that …; each node at most once, even in a cycle."""
    seen: set[int] = set()
    following: int | None = node
    while following is not None and following not in seen:
        yield following
        seen.add(following)
        following = parents.get(following)


def height(parents: Parents, node: int) -> int:
    """The number of levels from the node down to its deepest descendant, both included; there is no cycle below it."""
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        if parent is not None:
            children.setdefault(parent, []).append(child)
    levels, level = 0, [node]
    while level:
        levels += 1
        level = [child for parent in level for child in children.get(parent, ())]
    return levels
