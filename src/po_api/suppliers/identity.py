"""The identity of a supplier: the fields that an order is made out to. Its other data may change.

An approval covers the identity as a digest: a SHA-256 (hex) of each field, so that a comparison can name the fields
that differ. `suppliers.projections.supplier_hash` is the same in SQL; a test compares both.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from po_api.core.errors import FieldError
from po_api.suppliers.errors import SupplierChanged

# The fields in the order of their digests.
_TITLES = {"name": "name", "tax_id": "tax id"}
IDENTITY_FIELDS = tuple(_TITLES)
_LENGTH = 64

SINCE_APPROVAL = "the approval"
SINCE_CREATION = "the creation of the order"


class Identified(Protocol):
    """The attributes of a supplier, or of an order's supplier snapshot, that identify it."""

    @property
    def name(self) -> str: ...
    @property
    def tax_id(self) -> str | None: ...


class Identity(NamedTuple):
    """The identity of a supplier alone."""

    name: str
    tax_id: str | None


def identity_hash(supplier: Identified) -> str:
    """The digest of the identity, 128 hexadecimal digits. No tax id and an empty one are the same."""
    values = (getattr(supplier, name) or "" for name in IDENTITY_FIELDS)
    return "".join(hashlib.sha256(value.encode()).hexdigest() for value in values)


def changed_fields(before: str | None, now: str | None) -> Sequence[str]:
    """The fields of the identity in which two digests differ; a missing digest (None) is not compared."""
    if before is None or now is None:
        return ()
    starts = range(0, _LENGTH * len(IDENTITY_FIELDS), _LENGTH)
    return [
        name
        for name, start in zip(IDENTITY_FIELDS, starts, strict=True)
        if before[start : start + _LENGTH] != now[start : start + _LENGTH]
    ]


def require_unchanged(document: str, before: str | None, now: str | None, since: str) -> None:
    """Raise SupplierChanged with the fields in which two digests differ, if there are any.

    `document` is a number or a name, `since` the event of which `before` is the digest, such as SINCE_APPROVAL.
    """
    fields = changed_fields(before, now)
    if not fields:
        return
    titles = " and ".join(_TITLES[name] for name in fields)
    problems = tuple(
        FieldError(f"/{name}", SupplierChanged.code, f"the {_TITLES[name]} has changed", "supplier") for name in fields
    )
    raise SupplierChanged(f"{document}: the supplier's {titles} changed after {since}", errors=problems)
