"""The rules of a purchase order: its state machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from po_api.core.actor import Actor, MissingRole
from po_api.core.currencies import CURRENCIES
from po_api.core.errors import AppError
from po_api.core.permissions import Permission
from po_api.core.state_machine import Guard, Rule, StateMachine
from po_api.porfs.errors import CurrencyWithdrawn
from po_api.suppliers.errors import SupplierChanged, SupplierInactive

# The versions of the template, which `typesetting` has: the one that orders are issued with from now on, and that of
# orders from before revision 027.
CURRENT_TEMPLATE = 1
FIRST_TEMPLATE = 1


class FileKind(StrEnum):
    """The kinds of an order's stored documents: as issued, marked as cancelled, marked as superseded by a revision."""

    ISSUED = "issued"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class DocumentStatus(StrEnum):
    """Whether the document of an order is stored, is about to be rendered, or could not be."""

    DUE = "due"
    STORED = "stored"
    FAILED = "failed"


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


@dataclass(frozen=True)
class PurchaseOrderFacts:
    """The data that guards look at. `supplier_has_changed`: the supplier's name or tax id is not the one that the order
    was created with (evaluated for drafts only)."""

    status: PurchaseOrderStatus
    supplier_is_active: bool
    supplier_has_changed: bool
    currency: str


class OrderWarning(NamedTuple):
    """Something about an order that needs attention and prevents nothing; `pointer` is the field of the order."""

    code: str
    pointer: str
    detail: str


_WITHOUT_TAX_ID = OrderWarning("supplier_without_tax_id", "/supplier_tax_id", "the supplier has no tax id")
_WITHOUT_ADDRESS = OrderWarning("supplier_without_address", "/supplier_address", "the supplier has no address")


def warnings_about(
    status: PurchaseOrderStatus, supplier_tax_id: str | None, supplier_address: str | None
) -> list[OrderWarning]:
    """What is missing on the document of an order; nothing once it is closed or cancelled."""
    if status not in (PurchaseOrderStatus.DRAFT, PurchaseOrderStatus.ISSUED):
        return []
    missing = ((_WITHOUT_TAX_ID, supplier_tax_id), (_WITHOUT_ADDRESS, supplier_address))
    return [warning for warning, value in missing if not value]


def _buyer(_facts: PurchaseOrderFacts, actor: Actor) -> type[AppError] | None:
    """a buyer or an admin"""
    return None if actor.may(Permission.PURCHASE_ORDERS_WRITE) else MissingRole


def _active_supplier(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """the supplier is active"""
    return None if facts.supplier_is_active else SupplierInactive


def _same_supplier(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """the supplier has the name and the tax id that the order was created with"""
    return SupplierChanged if facts.supplier_has_changed else None


def _current_currency(facts: PurchaseOrderFacts, _actor: Actor) -> type[AppError] | None:
    """the currency is not withdrawn"""
    return None if facts.currency in CURRENCIES else CurrencyWithdrawn


def _rule(
    sources: Iterable[PurchaseOrderStatus], target: PurchaseOrderStatus | None, *guards: Guard[PurchaseOrderFacts]
) -> Rule[PurchaseOrderStatus, PurchaseOrderFacts]:
    return Rule(frozenset(sources), target, Permission.PURCHASE_ORDERS_WRITE, _buyer, guards)


_DRAFT, _ISSUED = PurchaseOrderStatus.DRAFT, PurchaseOrderStatus.ISSUED

MACHINE: StateMachine[PurchaseOrderStatus, PurchaseOrderAction, PurchaseOrderFacts] = StateMachine(
    {
        PurchaseOrderAction.EDIT: _rule([_DRAFT], None),
        PurchaseOrderAction.ISSUE: _rule([_DRAFT], _ISSUED, _active_supplier, _same_supplier, _current_currency),
        PurchaseOrderAction.CANCEL: _rule([_DRAFT, _ISSUED], PurchaseOrderStatus.CANCELLED),
        PurchaseOrderAction.CLOSE: _rule([_ISSUED], PurchaseOrderStatus.CLOSED),
    },
)
