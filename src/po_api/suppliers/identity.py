"""The identity of a supplier: whom an order is made out to, and where it is sent as an electronic document. Its other
data (addresses, contacts, terms) may change.

An approval covers the identity as a digest: a SHA-256 (hex) of each field, so that a comparison can name the fields
that differ. A digest of before revision 035 has the first two fields only: further ones are not compared with it.
`suppliers.projections.supplier_hash` is the same in SQL; a test compares both.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from po_api.core.errors import FieldError
from po_api.suppliers.errors import SupplierChanged

# The fields in the order of their digests. New ones are appended: stored digests begin with the same fields.
_TITLES = {
    "name": "name",
    "tax_id": "tax id",
    "legal_name": "legal name",
    "vat_id": "VAT id",
    "company_scheme": "company scheme",
    "company_id": "company id",
    "endpoint_scheme": "endpoint scheme",
    "endpoint_id": "endpoint id",
}
IDENTITY_FIELDS = tuple(_TITLES)
# Those that orders have columns of.
FIRST_FIELDS = IDENTITY_FIELDS[:2]
_LENGTH = 64

SINCE_APPROVAL = "the approval"
SINCE_CREATION = "the creation of the order"


class Identified(Protocol):
    """The attributes of a supplier that identify it."""

    @property
    def name(self) -> str: ...
    @property
    def tax_id(self) -> str | None: ...
    @property
    def legal_name(self) -> str | None: ...
    @property
    def vat_id(self) -> str | None: ...
    @property
    def company_scheme(self) -> str | None: ...
    @property
    def company_id(self) -> str | None: ...
    @property
    def endpoint_scheme(self) -> str | None: ...
    @property
    def endpoint_id(self) -> str | None: ...


def identity_hash(supplier: Identified) -> str:
    """The digest of the identity, 64 hexadecimal digits for each field. No tax id and an empty one are the same."""
    return digest_of(*(getattr(supplier, name) for name in IDENTITY_FIELDS))


def digest_of(*values: str | None) -> str:
    """The digest of the first fields of an identity."""
    return "".join(hashlib.sha256((value or "").encode()).hexdigest() for value in values)


def changed_fields(before: str | None, now: str | None) -> Sequence[str]:
    """The fields of the identity in which two digests differ; what one of them does not have is not compared."""
    if before is None or now is None:
        return ()
    starts = range(0, min(len(before), len(now)), _LENGTH)
    return [
        name
        for name, start in zip(IDENTITY_FIELDS, starts, strict=False)
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
