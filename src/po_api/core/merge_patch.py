"""Merge patches: what they change, and applying that to an entity."""

from collections.abc import Mapping
from typing import Any


def differing(row: Any, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the attributes that `changes` makes different were, and what they become."""
    before = {name: getattr(row, name) for name, value in changes.items() if getattr(row, name) != value}
    return before, {name: changes[name] for name in before}


def apply(entity: Any, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set the attributes that differ; returns what they were and what they are."""
    before, after = differing(entity, changes)
    for name, value in after.items():
        setattr(entity, name, value)
    return before, after
