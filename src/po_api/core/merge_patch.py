"""Merge patches (RFC 7396): which attributes they change, and applying them to an entity."""

from collections.abc import Mapping
from typing import Any


def differing(row: Any, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values before and after of those attributes of `row` that `changes` sets to another value."""
    before = {name: getattr(row, name) for name, value in changes.items() if getattr(row, name) != value}
    return before, {name: changes[name] for name in before}


def apply(entity: Any, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set the attributes that differ; returns their values before and after."""
    before, after = differing(entity, changes)
    for name, value in after.items():
        setattr(entity, name, value)
    return before, after
