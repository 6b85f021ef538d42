"""Locks and changes rows of requests, restricted to those that are visible to the member."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Insert,
    Text,
    Update,
    and_,
    any_,
    bindparam,
    column,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.approvals.repository import (
    change_separately,
    changing_parts,
    open_separately,
    opening_parameters,
    opening_parts,
    parameters,
)
from po_api.approvals.timers import adjust
from po_api.approvals.writes import RunWrites
from po_api.comments.models import Comment
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.offload import offload
from po_api.core.records import field_names
from po_api.core.text import name_key
from po_api.db.bulk_write import NOW, Rows, combine, insert_from, json_rows, update_from
from po_api.db.models import Percent
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect, NoRow, Query, TransactionExecutor, columns_for
from po_api.db.separate_writes import SeparateWrites
from po_api.db.wakeups import notify_after_commit
from po_api.exchange_rates.domain import BaseAmounts
from po_api.organisations.models import Organisation
from po_api.organisations.numbering import Numbering, next_number, taken_number
from po_api.porfs.approval_projections import approval_in_force, without_approver
from po_api.porfs.content import HEADER_FIELDS, LINE_FIELDS, PorfInput
from po_api.porfs.domain import LineQuantities, PorfFacts
from po_api.porfs.models import Porf, PorfLine
from po_api.porfs.projections import with_facts
from po_api.porfs.queries import LockedPorf, PorfLineRow
from po_api.porfs.visibility import Visibility, visible
from po_api.structure.models import CostCentre
from po_api.suppliers.models import Supplier

_PORFS, _LINES = Porf.__table__, PorfLine.__table__
_COMMENTS = Comment.__table__

_COMPUTED = ("currency", "tax_rounding", "net", "tax", "total", "requester_id", "author_ids")
_ROWS_OF_PORF = json_rows("porfs", *_PORFS.c[(*HEADER_FIELDS, *_COMPUTED)])
_ROWS_OF_LINES = json_rows("lines", *_LINES.c[("position", *LINE_FIELDS, "net", "over_order_percent")])

# The columns that `PorfRepository.change` writes: of requests, lines and comments.
_STATE = (
    *("status", "requester_id", "author_ids", "approval_round", "submitted_at", "decided_at"),
    *("over_order_percent", "maximum_total", "cost_centre_id", *field_names(BaseAmounts), "base_ceiling"),
)
_ROWS_OF_STATES = json_rows("porfs", _PORFS.c.id, *_PORFS.c[_STATE])
_QUANTITIES = ("id", "ordered_quantity", "closed_quantity")
_ROWS_OF_QUANTITIES = json_rows("lines", *_LINES.c[_QUANTITIES])
_ROWS_OF_COMMENTS = json_rows("comments", *_COMMENTS.c["porf_id", "author_id", "text"])

_PORF_IDS = bindparam("porf_ids", type_=ARRAY(BigInteger))


class CreatedPorf(NamedTuple):
    """The key of a new request."""

    id: int


class CreationRules(NamedTuple):
    """The organisation's rules for a new request.

    `supplier_is_active` is about the supplier that it names, if any. `cost_centre_id` and its code `cost_centre` are of
    the active cost centre that it names or takes by default; None without one.
    """

    id: int
    timezone: str
    porf_prefix: str
    po_prefix: str
    currency: str
    tax_rounding: str
    over_order_percent: Decimal
    supplier_is_active: bool
    cost_centre_id: int | None
    cost_centre: str | None


@dataclass(frozen=True)
class ApprovedFacts(PorfFacts):
    """The facts for the guards, and the hashes of the approval in the current round; None without one."""

    approved_hash: str | None
    hash_version: int | None
    approved_supplier_hash: str | None


def _creation() -> Query[CreatedPorf]:
    """Insert a request with the next number, its lines and its event."""
    number = select(taken_number().c.number).scalar_subquery()
    porf = insert_from(_PORFS, _ROWS_OF_PORF, number=number).returning(Porf.id).cte("porf")
    lines = insert_from(_LINES, _ROWS_OF_LINES, porf_id=porf.c.id).cte("added_lines")
    event = audit.insert_events(entity_id=porf.c.id, after={"number": number}).cte("event")
    return Query("porfs.create", select(porf.c.id).add_cte(lines, event), CreatedPorf)


def _change(name: str, *more: Insert | Update) -> Query[NoRow]:
    return combine(
        name,
        update_from(_PORFS, _ROWS_OF_STATES, version=Porf.version + 1),
        update_from(_LINES, _ROWS_OF_QUANTITIES),
        insert_from(_COMMENTS, _ROWS_OF_COMMENTS),
        audit.insert_events(),
        *more,
    )


def _grant_tolerance() -> Update:
    """Copy the tolerance of the request to each line."""
    granted = bindparam("over_order_percent", type_=Percent)
    return (
        update(PorfLine)
        .values(over_order_percent=granted, updated_at=NOW)
        .where(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == any_(_PORF_IDS))
        .where(PorfLine.over_order_percent != granted)
    )


def _creation_rules() -> Query[CreationRules]:
    """A function, since the rules have to be read after the member is locked: from then on, the base currency stays."""
    *of_organisation, _, _, _ = field_names(CreationRules)
    others = (Supplier.__table__.c.is_active, *CostCentre.__table__.c["id", "code"])
    columns = (*Organisation.__table__.c[tuple(of_organisation)], *others)
    named = (column(name, like.type) for name, like in zip(field_names(CreationRules), columns, strict=True))
    rules = func.creation_rules(
        ORGANISATION_ID,
        USER_ID,
        bindparam("supplier_id", type_=BigInteger),
        bindparam("cost_centre_id", type_=BigInteger),
        bindparam("code_key", type_=Text),
        bindparam("takes_default", type_=Boolean),
    )
    return Query("porfs.creation_rules", select(rules.table_valued(*named, name="rules")), CreationRules)


_CREATE, _CREATION_RULES = _creation(), _creation_rules()
_GRANT_TOLERANCE = Query("porfs.grant_tolerance", _grant_tolerance(), NoRow)
_CHANGE, _DECIDE = _change("porfs.change"), _change("porfs.decide", *changing_parts())
_SUBMIT = _change("porfs.submit", _grant_tolerance(), *opening_parts())


def _chosen(visibility: Visibility) -> AnySelect:
    return select(_PORFS).where(visible(visibility), Porf.id == any_(_PORF_IDS))


@cache
def _lock(visibility: Visibility) -> Query[LockedPorf]:
    statement = _chosen(visibility).with_only_columns(*columns_for(LockedPorf, _PORFS))
    return Query("porfs.lock", statement.order_by(Porf.id).with_for_update(key_share=True), LockedPorf)


_LOCK_LINES = Query(
    "porfs.lock_lines",
    select(*columns_for(PorfLineRow, _LINES))
    .where(PorfLine.organisation_id == ORGANISATION_ID, PorfLine.porf_id == any_(_PORF_IDS))
    .order_by(PorfLine.id)
    .with_for_update(key_share=True),
    PorfLineRow,
)


@cache
def _approvals(visibility: Visibility) -> Query[ApprovedFacts]:
    porf = _chosen(visibility).subquery("porf")
    approval = approval_in_force(porf)
    hashes = (
        approval.c.content_hash.label("approved_hash"),
        approval.c.hash_version,
        approval.c.supplier_hash.label("approved_supplier_hash"),
    )
    statement = with_facts(porf).join(approval, true()).add_columns(*hashes)
    return Query("porfs.approvals", statement.order_by(porf.c.id), ApprovedFacts, one_plan=True)


_OWN = select(_PORFS).where(Porf.organisation_id == ORGANISATION_ID).subquery("porf")
_WITHOUT_APPROVER = without_approver(_OWN)


class RunChange(NamedTuple):
    """What a change writes of the run with this id."""

    run_id: int
    writes: RunWrites


def state_of(porf: LockedPorf, **changed: object) -> dict[str, object]:
    """The row of a request for `PorfRepository.change`, with the columns that changed."""
    return {"id": porf.id, **{name: getattr(porf, name) for name in _STATE}, **changed}


class PorfRepository:
    """The rows of requests of the actor's organisation that are visible to the member."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._actor = actor
        self._visibility = Visibility.of(actor)
        self._who = {"organisation_id": actor.organisation_id, "user_id": actor.user_id}

    async def creation_rules(self, requested: PorfInput, *, takes_default: bool) -> CreationRules:
        """The organisation's rules for a new request; `takes_default`: it has the member's default cost centre."""
        named = {"supplier_id": requested.supplier_id, "cost_centre_id": requested.cost_centre_id}
        key = None if requested.cost_centre is None else name_key(requested.cost_centre)
        parameters = {**named, "code_key": key, "takes_default": takes_default}
        rules = await self._executor.row(_CREATION_RULES, **self._who, **parameters)
        assert rules is not None
        return rules

    async def create(
        self,
        porf: Mapping[str, object],
        lines: Collection[Mapping[str, object]],
        change: audit.Change,
        *,
        numbering: Numbering,
        now: datetime,
    ) -> int:
        """Insert a request with the next number, its lines and its audit event; returns its id."""
        if self._executor.is_distributed:
            number = {"number": await next_number(self._executor, self._actor.organisation_id, numbering)}
            writes = self._separate_writes(now)
            ((porf_id,),) = await writes.insert(_PORFS, [{**porf, **number}], "id")
            await writes.insert(_LINES, lines, porf_id=porf_id)
            numbered = replace(change, after={**(change.after or {}), **number})
            await audit.insert_separately(writes, self._actor, [numbered], entity_id=porf_id)
            return int(porf_id)
        rows = {"porfs": [porf], "lines": lines}
        parameters = await offload(len(lines), audit.parameters, self._actor, [change], now=now, rows=rows)
        created = await self._executor.row(_CREATE, **parameters, **vars(numbering))
        assert created is not None
        notify_after_commit(self._session, audit.RELAY)
        return created.id

    async def change(
        self,
        porfs: Collection[Mapping[str, object]],
        changes: Iterable[audit.Change],
        *,
        now: datetime,
        lines: Collection[LineQuantities] = (),
        comments: Rows = (),
        tolerance: Decimal | None = None,
        opened: RunWrites | None = None,
        changed: RunChange | None = None,
    ) -> None:
        """Write the `state_of` locked requests, incrementing their versions, and the quantities of lines.

        A submission `opened` a run, and gives the `tolerance`, in per cent, to all lines. A decision, a recall or a
        cancellation `changed` one.
        """
        await self._change(porfs, changes, now, lines, comments, tolerance, opened, changed)
        runs = (opened, None if changed is None else changed.writes)
        if any(run is not None and run.has_timers for run in runs):
            await adjust(self._session, self._actor, [porf["id"] for porf in porfs], now)

    async def _change(
        self,
        porfs: Collection[Mapping[str, object]],
        changes: Iterable[audit.Change],
        now: datetime,
        lines: Collection[LineQuantities],
        comments: Rows,
        tolerance: Decimal | None,
        opened: RunWrites | None,
        changed: RunChange | None,
    ) -> None:
        quantities = [{name: getattr(line, name) for name in _QUANTITIES} for line in lines]
        if self._executor.is_distributed:
            writes = self._separate_writes(now)
            await writes.update(_PORFS, porfs, version=Porf.version + 1)
            await writes.update(_LINES, quantities)
            await writes.insert(_COMMENTS, comments)
            if opened is not None:
                await open_separately(writes, opened)
            if changed is not None:
                await change_separately(writes, changed.writes, changed.run_id)
            await audit.insert_separately(writes, self._actor, changes)
            if tolerance is not None:
                granted = {"porf_ids": [porf["id"] for porf in porfs], "over_order_percent": tolerance, "now": now}
                await self._executor.execute(_GRANT_TOLERANCE, **self._who, **granted)
            return
        rows: dict[str, Rows] = {"porfs": porfs, "lines": quantities, "comments": comments}
        if opened is not None:
            rows |= opening_parameters(opened)
        if changed is not None:
            rows |= parameters(changed.writes, changed.run_id)
        porf_ids = [porf["id"] for porf in porfs]
        values = await offload(len(lines), audit.parameters, self._actor, changes, now=now, rows=rows)
        if opened is not None:
            await self._executor.execute(_SUBMIT, **values, porf_ids=porf_ids, over_order_percent=tolerance)
        else:
            await self._executor.execute(_CHANGE if changed is None else _DECIDE, **values)
        notify_after_commit(self._session, audit.RELAY)

    async def lock(self, porf_ids: Collection[int]) -> Sequence[LockedPorf]:
        """The requests that are visible to the member, locked in the order of their ids."""
        return await self._executor.rows(_lock(self._visibility), **self._who, porf_ids=list(porf_ids))

    async def lock_lines(self, porf_ids: Collection[int]) -> Sequence[PorfLineRow]:
        """All lines of locked requests, locked in the order of their ids."""
        return await self._executor.rows(_LOCK_LINES, **self._who, porf_ids=list(porf_ids))

    async def approvals(self, porf_ids: Collection[int]) -> Sequence[ApprovedFacts]:
        """The facts of the requests that are visible to the member, in the order of their ids."""
        return await self._executor.rows(
            _approvals(self._visibility), **self._who, now=utc_now(), porf_ids=list(porf_ids)
        )

    async def editable(self, porf_id: int) -> Porf | None:
        """The entity of the request, locked; None if it is not visible to the member."""
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

    async def set_nets(self, nets: Sequence[Mapping[str, object]]) -> None:
        """Write nets after a change of the currency; each row contains the whole key of its line."""
        if nets:
            await self._session.execute(update(PorfLine), list(nets))

    async def positions(self, porf_id: int) -> tuple[int, int]:
        """The number of lines and the position of the last one, which differ after lines were deleted."""
        statement = select(func.count(), func.coalesce(func.max(PorfLine.position), 0)).where(self._of(porf_id))
        count, last = (await self._session.execute(statement)).one()
        return count, last

    async def count(self) -> int:
        """The number of all requests of the organisation."""
        mine = Porf.organisation_id == self._actor.organisation_id
        return await self._session.scalar(select(func.count()).select_from(Porf).where(mine)) or 0

    async def without_approver(self) -> Sequence[tuple[int, str]]:
        """The pending requests, as (id, number), with a step that no active member may approve now."""
        who = {"organisation_id": self._actor.organisation_id, "now": utc_now()}
        return [(row.id, row.number) for row in await self._session.execute(_WITHOUT_APPROVER, who)]

    def _separate_writes(self, now: datetime) -> SeparateWrites:
        return SeparateWrites(self._session, self._actor.organisation_id, now)

    def _of(self, porf_id: int) -> ColumnElement[bool]:
        return and_(PorfLine.organisation_id == self._actor.organisation_id, PorfLine.porf_id == porf_id)
