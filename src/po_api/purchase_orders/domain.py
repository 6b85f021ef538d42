"""The rules of a purchase order: its state machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from po_api.core.actor import Actor, MissingRole
from po_api.core.currencies import CURRENCIES
from po_api.core.errors import AppError, FieldError
from po_api.core.parties import ADDRESS_FIELDS
from po_api.core.permissions import Permission
from po_api.core.state_machine import Guard, Rule, StateMachine
from po_api.exchange_rates.errors import RateMissing
from po_api.porfs.errors import CurrencyWithdrawn
from po_api.purchase_orders.errors import AboveApproved, TaxCategoryMismatch
from po_api.suppliers.errors import SupplierChanged, SupplierInactive

# The version of the template, of those that `typesetting` has, that orders are issued with from now on.
CURRENT_TEMPLATE = 2
# How long suppliers can read an order at their links after it has ended.
LINKS_KEPT = timedelta(days=90)
# The queue of the documents that are stored and not filed yet.
FILING_WORK = "filings"


class FileKind(StrEnum):
    """The kinds of an order's stored documents: as issued, marked as cancelled, marked as superseded by a revision; the
    electronic order, which is XML."""

    ISSUED = "issued"
    ELECTRONIC = "electronic"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


def document_name(number: str, revision: int, kind: str) -> str:
    """The name of a document's file, as in PO-2026-000001-r2-CANCELLED.pdf; numbers need no quoting."""
    is_unmarked = kind in (FileKind.ISSUED, FileKind.ELECTRONIC)
    parts = [number, *([f"r{revision}"] if revision > 1 else []), *([] if is_unmarked else [kind.upper()])]
    return f"{'-'.join(parts)}.{'xml' if kind == FileKind.ELECTRONIC else 'pdf'}"


class OrderDeliveryStatus(StrEnum):
    """Whether the revision in force was sent to the supplier, by its last delivery that was not cancelled; `failed`: it
    could not be sent, or has come back; `viewed`: it was sent, and the supplier has confirmed to have read it."""

    NOT_SENT = "not_sent"
    QUEUED = "queued"
    SENT = "sent"
    VIEWED = "viewed"
    FAILED = "failed"


class DocumentStatus(StrEnum):
    """Whether the document of an order is stored, is about to be rendered, or could not be."""

    DUE = "due"
    STORED = "stored"
    FAILED = "failed"


class TaxCategory(StrEnum):
    """A tax category of UNCL5305: standard rate, zero rate, exempt, reverse charge, not subject to tax, supply within
    the European Union, export."""

    STANDARD = "S"
    ZERO_RATED = "Z"
    EXEMPT = "E"
    REVERSE_CHARGE = "AE"
    OUT_OF_SCOPE = "O"
    INTRA_COMMUNITY = "K"
    EXPORT = "G"


# The categories that have no reason of an exemption.
_WITHOUT_REASON = frozenset({TaxCategory.STANDARD, TaxCategory.ZERO_RATED})


def require_tax_category(rate: Decimal, category: str | None, reason: str | None) -> None:
    """Raise TaxCategoryMismatch unless the category fits the rate (0–100), and the reason the category."""
    problems = []
    if category is not None and (category == TaxCategory.STANDARD) != (rate > 0):
        detail = "S is for rates above 0, all others for a rate of 0"
        problems.append(FieldError("/tax_category", TaxCategoryMismatch.code, detail))
    if reason is not None and (category is None or category in _WITHOUT_REASON):
        detail = "only the categories E, AE, O, K and G have a reason"
        problems.append(FieldError("/tax_exemption_reason", TaxCategoryMismatch.code, detail))
    if problems:
        raise TaxCategoryMismatch(errors=tuple(problems))


class PurchaseOrderStatus(StrEnum):
    """The status of a purchase order; `closed` and `cancelled` are final."""

    DRAFT = "draft"
    ISSUED = "issued"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class PurchaseOrderAction(StrEnum):
    """An action on an order."""

    EDIT = "edit"
    ISSUE = "issue"
    CANCEL = "cancel"
    CLOSE = "close"
    DELIVER = "deliver"


@dataclass(frozen=True)
class PurchaseOrderFacts:
    """The data that guards look at. `supplier_has_changed`: the supplier has another identity than at the order's
    creation; `lacks_rate`: an exchange rate is needed, and there is no recent one; `exceeds_approved`: the net is too
    far above the approved one, or the limits of the approvers do not permit it (all evaluated for drafts only)."""

    status: PurchaseOrderStatus
    supplier_is_active: bool
    supplier_has_changed: bool
    currency: str
    lacks_rate: bool
    exceeds_approved: bool


class OrderWarning(NamedTuple):
    """Something about an order that needs attention and prevents nothing; `pointer` is the field of the order."""

    code: str
    pointer: str
    detail: str


_WITHOUT_TAX_ID = OrderWarning(
    "supplier_without_tax_id", "/supplier_tax_id", "the supplier has neither a VAT id nor a tax id"
)
_WITHOUT_VAT_ID = OrderWarning(
    "supplier_without_vat_id", "/parties/supplier/vat_id", "the supplier has a tax id, but no VAT id"
)
_OTHER_CURRENCY = OrderWarning("supplier_currency", "/currency", "the supplier invoices in another currency")
_WITHOUT_ADDRESS = OrderWarning("supplier_without_address", "/supplier_address", "the supplier has no address")


def warnings_about(
    status: PurchaseOrderStatus,
    *,
    tax_id: str | None,
    address: str | None,
    currency: str,
    supplier: Mapping[str, str | None],
) -> list[OrderWarning]:
    """What is missing on the document of an order, or unusual; nothing once it is closed or cancelled.

    `tax_id` and `address` are those of the order's supplier snapshot, `supplier` its further data, if there are any.
    """
    if status not in (PurchaseOrderStatus.DRAFT, PurchaseOrderStatus.ISSUED):
        return []
    has_vat_id = bool(supplier.get("vat_id"))
    has_address = bool(address) or any(supplier.get(name) for name in ADDRESS_FIELDS)
    found = (
        (_WITHOUT_TAX_ID, not tax_id and not has_vat_id),
        (_WITHOUT_VAT_ID, bool(tax_id) and not has_vat_id),
        (_WITHOUT_ADDRESS, not has_address),
        (_OTHER_CURRENCY, supplier.get("currency") not in (None, currency)),
    )
    return [warning for warning, applies in found if applies]


def _buyer(_facts: PurchaseOrderFacts, actor: Actor) -> type[AppError] | None:
    """a buyer or an admin"""
    return None if actor.may(Permission.PURCHASE_ORDERS_WRITE) else MissingRole


def _active_supplier(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """the supplier is active"""
    return None if facts.supplier_is_active else SupplierInactive


def _same_supplier(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """the supplier has the identity that the order was created with"""
    return SupplierChanged if facts.supplier_has_changed else None


def _current_currency(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """the currency is not withdrawn"""
    return None if facts.currency in CURRENCIES else CurrencyWithdrawn


def _has_rate(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """there is a recent exchange rate for another currency than the base currency, once the organisation has any"""
    return RateMissing if facts.lacks_rate else None


def _within_approved(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """the net exceeds the approved one by no more than the organisation permits, and no approval limit is exceeded"""
    return AboveApproved if facts.exceeds_approved else None


_ISSUABLE = (_active_supplier, _same_supplier, _current_currency, _within_approved, _has_rate)


def _rule(
    sources: Iterable[PurchaseOrderStatus],
    target: PurchaseOrderStatus | None,
    *guards: Guard[PurchaseOrderFacts],
    permission: Permission = Permission.PURCHASE_ORDERS_WRITE,
) -> Rule[PurchaseOrderStatus, PurchaseOrderFacts]:
    return Rule(frozenset(sources), target, permission, _buyer, guards)


_DRAFT, _ISSUED = PurchaseOrderStatus.DRAFT, PurchaseOrderStatus.ISSUED

MACHINE: StateMachine[PurchaseOrderStatus, PurchaseOrderAction, PurchaseOrderFacts] = StateMachine(
    {
        PurchaseOrderAction.EDIT: _rule([_DRAFT], None),
        PurchaseOrderAction.ISSUE: _rule([_DRAFT], _ISSUED, *_ISSUABLE),
        PurchaseOrderAction.CANCEL: _rule([_DRAFT, _ISSUED], PurchaseOrderStatus.CANCELLED),
        PurchaseOrderAction.CLOSE: _rule([_ISSUED], PurchaseOrderStatus.CLOSED),
        # Has the roles of _buyer, and a scope of its own.
        PurchaseOrderAction.DELIVER: _rule([_ISSUED], None, permission=Permission.DELIVERIES_WRITE),
    },
)
