"""Optimistic concurrency: a change names the version that it is based on."""

from po_api.core.errors import PreconditionFailed

# The versions that `If-Match` accepts; None is `*`, any version.
ExpectedVersions = frozenset[int] | None


def require_version(current: int, expected: ExpectedVersions) -> None:
    """Raise PreconditionFailed unless `current` is one of the expected versions."""
    if expected is not None and current not in expected:
        reason = "" if expected else "If-Match has no ETag of this API; "
        raise PreconditionFailed(f"{reason}the current version is {current}")
