"""The requests' rows that are changed, as one member of one organisation may see them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Select,
    Update,
    and_,
    any_,
    bindparam,
    false,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.db.bulk_write import NOW, Rows, combine, insert_from, json_rows, update_from
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.organisations.models import Organisation
from po_api.porfs.domain import Decision, LineQuantities, PorfStatus
from po_api.porfs.models import ApprovalDecision, Porf, PorfComment, PorfLine
from po_api.porfs.projections import eligible_approver, with_facts
from po_api.porfs.queries import Visibility, visible
from po_api.suppliers.models import Supplier

_PORFS, _LINES = Porf.__table__, PorfLine.__table__
_DECISIONS, _COMMENTS = ApprovalDecision.__table__, PorfComment.__table__

_HEADER = ("number", "title", "justification", "cost_centre", "needed_by", "currency", "tax_rounding")
_ROWS_OF_PORF = json_rows("porfs", *_PORFS.c[(*_HEADER, "net", "tax", "total", "requester_id", "supplier_id")])
_PRICES = ("quantity", "unit", "unit_price", "discount_percent", "tax_rate", "net", "over_order_percent")
_ROWS_OF_LINES = json_rows("lines", *_LINES.c[("position", "description", "sku", "needed_by", *_PRICES)])

# What becomes of requests: of their own columns, of their lines', and what is written down about them.
_STATE = ("status", "requester_id", "approval_round", "submitted_at", "decided_at")
_ROWS_OF_STATES = json_rows("porfs", _PORFS.c.id, *_PORFS.c[_STATE])
_ROWS_OF_QUANTITIES = json_rows("lines", *_LINES.c["id", "ordered_quantity", "closed_quantity"])
_DECISION = ("porf_id", "round", "approver_id", "decision", "comment", "content_hash")
_ROWS_OF_DECISIONS = json_rows("decisions", *_DECISIONS.c[_DECISION])
_ROWS_OF_COMMENTS = json_rows("comments", *_COMMENTS.c["porf_id", "author_id", "text"])

_PORF_IDS = bindparam("porf_ids", type_=ARRAY(BigInteger))


def _creation() -> Query:
    """A request with its lines and its event; the answer is its id."""
    porf = insert_from(_PORFS, _ROWS_OF_PORF).returning(Porf.id).cte("porf")
    lines = insert_from(_LINES, _ROWS_OF_LINES, porf_id=porf.c.id).cte("added_lines")
    event = audit.events(entity_id=porf.c.id).cte("event")
    return Query("porfs.create", select(porf.c.id).add_cte(lines, event))


def _change(name: str, *more: Insert | Update) -> Query:
    return combine(
        name,
        update_from(_PORFS, _ROWS_OF_STATES, version=Porf.version + 1),
        update_from(_LINES, _ROWS_OF_QUANTITIES),
        insert_from(_DECISIONS, _ROWS_OF_DECISIONS, decided_at=NOW),
        insert_from(_COMMENTS, _ROWS_OF_COMMENTS),
        audit.events(),
        *more,
    )


def _grant_tolerance() -> Update:
    """Write down, line by line, how much more than requested the organisation lets one order."""
    granted = Organisation.over_order_percent
    return (
        update(PorfLine)
        .values(over_order_percent=granted, updated_at=NOW)
        .where(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == any_(_PORF_IDS))
        .where(Organisation.id == ORGANISATION_ID, PorfLine.over_order_percent != granted)
    )


def _basis() -> Query:
    """The columns of the organisation, and whether one may order from the supplier that is named."""
    named = and_(Supplier.organisation_id == Organisation.id, Supplier.id == bindparam("supplier_id", type_=BigInteger))
    columns = (*Organisation.__table__.c, func.coalesce(Supplier.is_active, false()).label("supplier_is_active"))
    return Query(
        "porfs.basis",
        select(*columns).select_from(Organisation).outerjoin(Supplier, named).where(Organisation.id == ORGANISATION_ID),
    )


_CREATED, _CHANGED, _SUBMITTED, _BASIS = (
    _creation(),
    _change("porfs.change"),
    _change("porfs.submit", _grant_tolerance()),
    _basis(),
)


def _chosen(visibility: Visibility) -> Select[Any]:
    return select(_PORFS).where(visible(visibility), Porf.id == any_(_PORF_IDS))


@cache
def _locked(visibility: Visibility) -> Query:
    return Query("porfs.lock", _chosen(visibility).order_by(Porf.id).with_for_update(key_share=True))


_LOCKED_LINES = Query(
    "porfs.lock_lines",
    select(_LINES)
    .where(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == any_(_PORF_IDS))
    .order_by(PorfLine.id)
    .with_for_update(key_share=True),
)


@cache
def _approvals(visibility: Visibility) -> Query:
    """The facts of the requests, and the hash of the content that the approval of the current round is about."""
    porf = _chosen(visibility).subquery("porf")
    of_round = and_(
        ApprovalDecision.organisation_id == porf.c.organisation_id,
        ApprovalDecision.porf_id == porf.c.id,
        ApprovalDecision.round == porf.c.approval_round,
        ApprovalDecision.decision == Decision.APPROVED,
    )
    statement = with_facts(porf).outerjoin(ApprovalDecision, of_round)
    return Query(
        "porfs.approvals",
        statement.add_columns(ApprovalDecision.content_hash.label("approved_hash")).order_by(porf.c.id),
    )


def state_of(porf: Any, **changed: Any) -> dict[str, Any]:
    """What `PorfRepository.change` writes of a request: its own columns, some of them changed."""
    return {"id": porf.id, **{name: getattr(porf, name) for name in _STATE}, **changed}


class PorfRepository:
    """Named questions about one organisation's requests; each starts from what the member may see."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._actor = actor
        self._visibility = Visibility.of(actor)
        self._who = {"organisation_id": actor.organisation_id, "user_id": actor.user_id}

    async def basis(self, supplier_id: int | None) -> Any:
        """The organisation's columns, under whose rules a request is raised, and `supplier_is_active`."""
        return await self._executor.row(_BASIS, **self._who, supplier_id=supplier_id)

    async def create(self, porf: Mapping[str, Any], lines: Rows, change: audit.Change, *, now: datetime) -> int:
        """Add a request with its lines and the event that tells of it; returns its id."""
        rows = {"porfs": [porf], "lines": lines}
        row = await audit.write(self._executor, self._actor, _CREATED, [change], now=now, rows=rows)
        return int(row.id)

    async def change(
        self,
        porfs: Collection[Mapping[str, Any]],
        changes: Iterable[audit.Change],
        *,
        now: datetime,
        lines: Iterable[LineQuantities] = (),
        decisions: Rows = (),
        comments: Rows = (),
        submits: bool = False,
    ) -> None:
        """Write what became of locked requests, each one version on: the `state_of` them, and the quantities of lines.

        The lines of requests that are submitted get the tolerance that the organisation grants.
        """
        statement = _SUBMITTED if submits else _CHANGED
        quantities = (line._asdict() for line in lines)
        rows: dict[str, Rows] = {"porfs": porfs, "lines": quantities, "decisions": decisions, "comments": comments}
        porf_ids = [porf["id"] for porf in porfs]
        await audit.write(self._executor, self._actor, statement, changes, now=now, rows=rows, porf_ids=porf_ids)

    async def locked(self, porf_ids: Collection[int]) -> Sequence[Any]:
        """The requests' columns, locked in the order of their ids."""
        return await self._executor.rows(_locked(self._visibility), **self._who, porf_ids=list(porf_ids))

    async def locked_lines(self, porf_ids: Collection[int]) -> Sequence[Any]:
        """The columns of all lines of the requests, locked in the order of their ids."""
        return await self._executor.rows(_LOCKED_LINES, **self._who, porf_ids=list(porf_ids))

    async def approvals(self, porf_ids: Collection[int]) -> Sequence[Any]:
        """In the order of the ids: the guards' facts, and `approved_hash`, None if the round has no approval."""
        return await self._executor.rows(_approvals(self._visibility), **self._who, porf_ids=list(porf_ids))

    async def editable(self, porf_id: int) -> Porf | None:
        """The request itself, locked."""
        statement = (
            select(Porf)
            .where(visible(self._visibility), Porf.id == porf_id)
            .params(**self._who)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def line(self, porf_id: int, line_id: int) -> PorfLine | None:
        statement = select(PorfLine).where(self._of(porf_id), PorfLine.id == line_id)
        return (await self._session.scalars(statement)).one_or_none()

    async def set_nets(self, nets: Sequence[Mapping[str, Any]]) -> None:
        """Write the nets that a change of currency gave; each row names the line by its whole key."""
        if nets:
            await self._session.execute(update(PorfLine), list(nets))

    async def positions(self, porf_id: int) -> tuple[int, int]:
        """How many lines there are, and the position of the last: there are gaps where lines were deleted."""
        statement = select(func.count(), func.coalesce(func.max(PorfLine.position), 0)).where(self._of(porf_id))
        count, last = (await self._session.execute(statement)).one()
        return count, last

    async def without_approver(self) -> Sequence[tuple[int, str]]:
        """The pending requests, as (id, number), that nobody active could approve."""
        statement = (
            select(Porf.id, Porf.number)
            .join(Organisation, Organisation.id == Porf.organisation_id)
            .where(
                Porf.organisation_id == self._actor.organisation_id,
                Porf.status == PorfStatus.PENDING,
                ~eligible_approver(Porf.__table__).exists(),
            )
            .order_by(Porf.id)
        )
        return [(row.id, row.number) for row in await self._session.execute(statement)]

    def _of(self, porf_id: int) -> ColumnElement[bool]:
        return and_(PorfLine.organisation_id == self._actor.organisation_id, PorfLine.porf_id == porf_id)
