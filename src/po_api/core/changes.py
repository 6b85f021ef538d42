"""Applying a merge patch to an entity, and remembering what it changed."""

from collections.abc import Mapping
from typing import Any


def apply(entity: Any, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set the attributes that differ; returns what they were and what they are."""
    before = {name: getattr(entity, name) for name, value in changes.items() if getattr(entity, name) != value}
    after = {name: changes[name] for name in before}
    for name, value in after.items():
        setattr(entity, name, value)
    return before, after
