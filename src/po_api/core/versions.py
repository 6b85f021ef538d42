"""Optimistic concurrency: a change names the version it was decided on."""

from po_api.core.errors import PreconditionFailed

# The versions that `If-Match` accepts; None is `*`, any version.
ExpectedVersions = frozenset[int] | None


def require_version(current: int, expected: ExpectedVersions) -> None:
    """Raise PreconditionFailed unless `current` is a version that the caller has seen."""
    if expected is not None and current not in expected:
        raise PreconditionFailed(f"the current version is {current}")
