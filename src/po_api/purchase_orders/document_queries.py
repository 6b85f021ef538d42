"""Reading the documents of orders, restricted to orders that are visible to the member."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from json import loads
from typing import NamedTuple

from sqlalchemy import (
    Boolean,
    Integer,
    ScalarSelect,
    Text,
    and_,
    any_,
    bindparam,
    false,
    func,
    literal_column,
    not_,
    select,
    true,
)

from po_api.approvals.domain import Decision, RunStatus
from po_api.approvals.models import ApprovalDecision, ApprovalRun
from po_api.audit import AuditEvent
from po_api.core.actor import Actor
from po_api.core.records import field_names
from po_api.db.fences import ids_of
from po_api.db.json_sql import columns_of, json_array, json_object
from po_api.db.query import ORGANISATION_ID, AnySelect, Query, QueryExecutor
from po_api.members.models import Member
from po_api.organisations.models import DocumentLogo
from po_api.organisations.queries import ORGANISATIONS, OrganisationRow
from po_api.porfs.models import Porf
from po_api.purchase_orders.domain import PurchaseOrderStatus
from po_api.purchase_orders.models import PurchaseOrderFile, PurchaseOrderLine, PurchaseOrderSheet
from po_api.purchase_orders.projections import file_kind, hides_lines, lines_with_requests
from po_api.purchase_orders.queries import ORDER_ID, sees_all, visible_order

_SHEETS = PurchaseOrderSheet.__table__


class OrderFileRow(NamedTuple):
    """A document of an order; `content` is None until it is rendered, `number` until the order is issued.

    `hides_lines`: the order has lines that the member does not see.
    """

    hides_lines: bool
    number: str | None
    revision: int
    kind: str
    status: str
    line_count: int
    content: bytes | None


class OrderSheetRow(NamedTuple):
    """What the documents of an order are rendered from.

    The first three are None if a version before revision 027 has issued the order, `language` before revision 041.
    """

    sheet: str | None
    template: int | None
    timezone: str | None
    language: str | None
    logo: bytes | None
    cancelled_at: datetime | None


class SheetLocaleRow(NamedTuple):
    """The time zone of an issued order's dates, and the language of its texts (None before revision 041)."""

    timezone: str
    language: str | None


class _Content(NamedTuple):
    content: bytes


class ApprovalRow(NamedTuple):
    """A member who approved requests, with the name that they have now, and the last time."""

    name: str
    decided_at: datetime


@dataclass(frozen=True)
class BuyerRow(OrganisationRow):
    """The organisation as the documents of an order show it, with the approvals of the order's requests.

    `printed_logo` is the digest of its logo; None for one that a version before revision 041 has stored, which
    documents do not print. `approvals_json` is an array, for which the driver need not ask about the types of arrays.
    """

    printed_logo: str | None
    approvals_json: str

    @property
    def approvals(self) -> Sequence[ApprovalRow]:
        """In the order of the members' last ones."""
        found = loads(self.approvals_json)
        return [ApprovalRow(row["name"], datetime.fromisoformat(row["decided_at"])) for row in found]


@cache
def _document(*, sees_all: bool) -> Query[OrderFileRow]:
    order = visible_order(sees_all=sees_all)
    is_cancelled = and_(order.c.status == PurchaseOrderStatus.CANCELLED, not_(bindparam("as_issued", type_=Boolean)))
    kind = file_kind(is_cancelled)
    content = (
        select(PurchaseOrderFile.content)
        .where(
            PurchaseOrderFile.organisation_id == ORGANISATION_ID,
            PurchaseOrderFile.purchase_order_id == order.c.id,
            PurchaseOrderFile.revision == order.c.revision,
            PurchaseOrderFile.kind == kind,
        )
        .scalar_subquery()
    )
    count = select(func.count()).where(
        PurchaseOrderLine.organisation_id == ORGANISATION_ID, PurchaseOrderLine.purchase_order_id == order.c.id
    )
    hides = false() if sees_all else hides_lines(order)
    columns = (
        hides.label("hides_lines"),
        order.c.number,
        order.c.revision,
        kind.label("kind"),
        order.c.status,
        count.scalar_subquery().label("line_count"),
        content.label("content"),
    )
    return Query("purchase_orders.document", select(*columns), OrderFileRow)


def _sheet() -> Query[OrderSheetRow]:
    """What the documents of one revision of a visible order are rendered from."""
    own = (PurchaseOrderSheet.organisation_id == ORGANISATION_ID, PurchaseOrderSheet.purchase_order_id == ORDER_ID)
    of_revision = PurchaseOrderSheet.revision == bindparam("revision", type_=Integer)
    logo = (
        select(DocumentLogo.content)
        .where(DocumentLogo.organisation_id == ORGANISATION_ID, DocumentLogo.digest == PurchaseOrderSheet.logo_digest)
        .scalar_subquery()
    )
    columns = (*_SHEETS.c["sheet", "template", "timezone", "language"], logo.label("logo"))
    sheet = select(*columns).where(*own, of_revision).subquery("sheet")
    cancelled_at = select(func.max(AuditEvent.created_at).label("cancelled_at")).where(
        AuditEvent.organisation_id == ORGANISATION_ID,
        AuditEvent.entity == "purchase_order",
        AuditEvent.entity_id == ORDER_ID,
        AuditEvent.action == "purchase_order.cancel",
    )
    event = cancelled_at.subquery("event")
    statement = select(*sheet.c, *event.c).select_from(event.outerjoin(sheet, true()))
    return Query("purchase_orders.sheet", statement, OrderSheetRow)


_APPROVED_RUN = literal_column(f"'{RunStatus.APPROVED}'", Text)


@cache
def _buyer() -> Query[BuyerRow]:
    """The order is visible to the member."""
    logo = (
        select(DocumentLogo.digest)
        .where(DocumentLogo.organisation_id == ORGANISATION_ID, DocumentLogo.digest == ORGANISATIONS.c.logo_digest)
        .scalar_subquery()
    )
    own = [ORGANISATIONS.c[name] for name in field_names(OrganisationRow)]
    columns = (*own, logo.label("printed_logo"), _approvals().label("approvals_json"))
    statement: AnySelect = select(*columns).where(ORGANISATIONS.c.id == ORGANISATION_ID)
    return Query("purchase_orders.buyer", statement, BuyerRow)


def _approvals() -> ScalarSelect[str]:
    """The approvals of the present rounds of an order's requests, in the order of the members' last ones."""
    last = func.max(ApprovalDecision.decided_at)
    of_porf = and_(
        Porf.organisation_id == ORGANISATION_ID,
        Porf.id == ApprovalDecision.porf_id,
        Porf.approval_round == ApprovalDecision.round,
    )
    of_member = and_(Member.organisation_id == ORGANISATION_ID, Member.user_id == ApprovalDecision.approver_id)
    ordered = (
        select(Porf.id)
        .select_from(lines_with_requests())
        .where(PurchaseOrderLine.organisation_id == ORGANISATION_ID, PurchaseOrderLine.purchase_order_id == ORDER_ID)
    )
    # An earlier submission of the round may have been approved in part, and returned.
    run = ApprovalRun.__table__.c
    of_run = and_(run.organisation_id == ORGANISATION_ID, run.id == ApprovalDecision.run_id)
    its_run = select(run.status).where(of_run).correlate(ApprovalDecision).scalar_subquery()
    by_member = (
        select(Member.user_id, Member.name, last.label("decided_at"))
        .join_from(ApprovalDecision, Porf, of_porf)
        .join(Member, of_member)
        .where(
            ApprovalDecision.organisation_id == ORGANISATION_ID,
            ApprovalDecision.porf_id == any_(ids_of(ordered)),
            ApprovalDecision.decision == literal_column(f"'{Decision.APPROVED}'", Text),
            func.coalesce(its_run, _APPROVED_RUN) == _APPROVED_RUN,
        )
        .group_by(Member.user_id, Member.name)
        .subquery("by_member")
    )
    approval, text = json_object("approval", columns_of(by_member, field_names(ApprovalRow)))
    approvals = json_array(text, by_member.c.decided_at, by_member.c.user_id)
    return select(approvals).select_from(by_member.join(approval, true())).scalar_subquery()


_REVISION = bindparam("revision", type_=Integer)
_SHEET = _sheet()
_LOCALE = Query(
    "purchase_orders.sheet_locale",
    select(*_SHEETS.c["timezone", "language"]).where(
        PurchaseOrderSheet.organisation_id == ORGANISATION_ID,
        PurchaseOrderSheet.purchase_order_id == ORDER_ID,
        PurchaseOrderSheet.revision == _REVISION,
    ),
    SheetLocaleRow,
)
_STORED = Query(
    "purchase_orders.stored_document",
    select(PurchaseOrderFile.content).where(
        PurchaseOrderFile.organisation_id == ORGANISATION_ID,
        PurchaseOrderFile.purchase_order_id == ORDER_ID,
        PurchaseOrderFile.revision == _REVISION,
        PurchaseOrderFile.kind == bindparam("kind", type_=Text),
    ),
    _Content,
)


class OrderDocumentQueries:
    """Reads the documents of the orders that are visible to the member, and what they are rendered from."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id
        self._sees_all = sees_all(actor)
        self._who = {"organisation_id": actor.organisation_id, "user_id": actor.user_id}

    async def document(self, order_id: int, *, as_issued: bool) -> OrderFileRow | None:
        """The document of the current revision; None if the order is not visible to the member.

        That of a cancelled order is of the kind `cancelled`, or with `as_issued` the one that it had before.
        """
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {**self._who, "order_id": order_id, "as_issued": as_issued}
        return await self._executor.row(_document(sees_all=self._sees_all), **parameters)

    async def sheet(self, order_id: int, revision: int) -> OrderSheetRow:
        """What the documents of a visible order are rendered from."""
        await self._executor.enter_tenant(self._organisation_id)
        row = await self._executor.row(
            _SHEET, organisation_id=self._organisation_id, order_id=order_id, revision=revision
        )
        assert row is not None
        return row

    async def locale(self, order_id: int, revision: int) -> SheetLocaleRow | None:
        """How a visible order is written; None if a version before revision 027 has issued it."""
        await self._executor.enter_tenant(self._organisation_id)
        key = {"organisation_id": self._organisation_id, "order_id": order_id, "revision": revision}
        return await self._executor.row(_LOCALE, **key)

    async def stored(self, order_id: int, revision: int, kind: str) -> bytes | None:
        """The stored document of this kind of a visible order."""
        await self._executor.enter_tenant(self._organisation_id)
        key = {"organisation_id": self._organisation_id, "order_id": order_id, "revision": revision, "kind": kind}
        found = await self._executor.row(_STORED, **key)
        return found and found.content

    async def buyer(self, order_id: int) -> BuyerRow:
        """The organisation as the documents of a visible order show it."""
        await self._executor.enter_tenant(self._organisation_id)
        found = await self._executor.row(_buyer(), organisation_id=self._organisation_id, order_id=order_id)
        assert found is not None
        return found
