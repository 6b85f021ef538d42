"""The requests' rows, as one member of one organisation may see them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, false, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.audit import AuditEvent
from po_api.core.pagination import Keyset, PageOf, PageRequest
from po_api.core.tenancy import Role, Tenant
from po_api.organisations.models import Organisation
from po_api.porfs.domain import Decision, PorfStatus
from po_api.porfs.models import ApprovalDecision, Porf, PorfComment, PorfLine
from po_api.suppliers.models import Supplier
from po_api.users.models import User

SORTS = ("created_at", "updated_at", "number", "total")
LINE_SORTS = ("position",)
EVENT_SORTS = ("created_at",)
_KEYSET = Keyset({name: getattr(Porf, name) for name in SORTS}, id_column=Porf.id, default="-created_at")
_LINES = Keyset({"position": PorfLine.position}, id_column=PorfLine.id, default="position")
_EVENTS = Keyset({"created_at": AuditEvent.created_at}, id_column=AuditEvent.id, default="created_at")
_COMMENTS = Keyset({"created_at": PorfComment.created_at}, id_column=PorfComment.id, default="created_at")


@dataclass(frozen=True)
class PorfFilters:
    """What a list of requests can be narrowed to; several values of one mean any of them, `_lt` excludes its bound."""

    status: Collection[PorfStatus] = ()
    requester_id: Collection[int] = ()
    supplier_id: Collection[int] = ()
    currency: Collection[str] = ()
    cost_centre: Collection[str] = ()
    bounds: Mapping[str, date | datetime] = field(default_factory=dict)
    q: str | None = None
    waiting_for_me: bool = False


class PorfRepository:
    """Named questions about one organisation's requests; each starts from what the member may see."""

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._tenant = tenant

    def _visible(self) -> ColumnElement[bool]:
        """Requesters see their own requests, approvers those that were put before them, the others all."""
        mine = Porf.organisation_id == self._tenant.organisation_id
        if self._tenant.sees_all:
            return mine
        own = Porf.requester_id == self._tenant.user_id
        # Once submitted, always visible to approvers: who loses a race is told so, not that there is nothing.
        submitted = Porf.submitted_at.is_not(None)
        return and_(mine, or_(own, submitted) if self._tenant.has(Role.APPROVER) else own)

    def _headers(self) -> Select[Any]:
        """The requests with what their representation and the guards need."""
        return (
            select(
                *Porf.__table__.columns,
                User.name.label("requester_name"),
                Supplier.name.label("supplier_name"),
                Organisation.currency.label("base_currency"),
                Organisation.allow_self_approval,
                _of_its_lines(func.count()).label("line_count"),
                _of_its_lines(_any(PorfLine.ordered_quantity > 0)).label("ordered"),
                _of_its_lines(_any(_orderable() > 0)).label("orderable"),
                _has_approver().label("has_approver"),
            )
            .join(User, User.id == Porf.requester_id)
            .join(Organisation, Organisation.id == Porf.organisation_id)
            .outerjoin(
                Supplier, and_(Supplier.organisation_id == Porf.organisation_id, Supplier.id == Porf.supplier_id)
            )
            .where(self._visible())
        )

    async def page(self, filters: PorfFilters, request: PageRequest) -> PageOf[Row[Any]]:
        return await _KEYSET.page(self._session, self._headers().where(*self._conditions(filters)), request)

    def _conditions(self, filters: PorfFilters) -> list[ColumnElement[bool]]:
        conditions = [
            getattr(Porf, name).in_(values)
            for name in ("status", "requester_id", "supplier_id", "currency", "cost_centre")
            if (values := getattr(filters, name))
        ]
        for name, bound in filters.bounds.items():
            attribute, _, comparison = name.rpartition("_")
            compared = getattr(Porf, attribute)
            conditions.append(compared >= bound if comparison == "gte" else compared < bound)
        if filters.q is not None:
            found = func.search_porfs(filters.q).column_valued("found")
            conditions.append(Porf.id.in_(select(found)))
        if filters.waiting_for_me:
            conditions.append(self._waiting())
        return conditions

    def _waiting(self) -> ColumnElement[bool]:
        """The requests that this approver could approve now."""
        if not self._tenant.has(Role.APPROVER):
            return ~true()
        not_own = or_(Porf.requester_id != self._tenant.user_id, Organisation.allow_self_approval)
        limit = self._tenant.approval_limit
        within = true() if limit is None else and_(Porf.total <= limit, Porf.currency == Organisation.currency)
        return and_(Porf.status == PorfStatus.PENDING, not_own, within)

    async def header(self, porf_id: int) -> Any:
        """One row of what `page` lists; None if there is none to be seen."""
        return (await self._session.execute(self._headers().where(Porf.id == porf_id))).one_or_none()

    async def locked(self, porf_ids: Collection[int]) -> Sequence[Porf]:
        """The requests, locked in the order of their ids."""
        statement = (
            select(Porf)
            .where(self._visible(), Porf.id.in_(porf_ids))
            .order_by(Porf.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).all()

    async def lines(self, porf_id: int) -> Sequence[Row[Any]]:
        """All lines of one request in the order of their positions; the caller has seen that it may."""
        statement = select(*PorfLine.__table__.columns).where(self._of(porf_id)).order_by(PorfLine.position)
        return (await self._session.execute(statement)).all()

    async def lines_page(self, porf_id: int, request: PageRequest) -> PageOf[Row[Any]]:
        statement = select(*PorfLine.__table__.columns).where(self._of(porf_id))
        return await _LINES.page(self._session, statement, request)

    async def line(self, porf_id: int, line_id: int) -> PorfLine | None:
        statement = select(PorfLine).where(self._of(porf_id), PorfLine.id == line_id)
        return (await self._session.scalars(statement)).one_or_none()

    async def locked_lines(self, porf_ids: Collection[int]) -> Sequence[PorfLine]:
        """All lines of the requests, locked in the order of their ids."""
        statement = (
            select(PorfLine)
            .where(PorfLine.organisation_id == self._tenant.organisation_id, PorfLine.porf_id.in_(porf_ids))
            .order_by(PorfLine.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).all()

    async def add_lines(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            await self._session.execute(insert(PorfLine), list(rows))

    async def set_nets(self, nets: Sequence[Mapping[str, Any]]) -> None:
        """Write the nets that a change of currency gave; each row names the line by its whole key."""
        if nets:
            await self._session.execute(update(PorfLine), list(nets))

    async def grant_tolerance(self, porf_id: int) -> None:
        """Write down, line by line, how much more than requested the organisation lets one order."""
        tolerance = (
            select(Organisation.over_order_percent)
            .where(Organisation.id == self._tenant.organisation_id)
            .scalar_subquery()
        )
        statement = update(PorfLine).where(self._of(porf_id)).values(over_order_percent=tolerance)
        await self._session.execute(statement.execution_options(synchronize_session=False))

    async def positions(self, porf_id: int) -> tuple[int, int]:
        """How many lines there are, and the position of the last: there are gaps where lines were deleted."""
        statement = select(func.count(), func.coalesce(func.max(PorfLine.position), 0)).where(self._of(porf_id))
        count, last = (await self._session.execute(statement)).one()
        return count, last

    async def approved_hash(self, porf: Porf) -> str | None:
        """The hash of the content that the approval of the current round is about."""
        statement = select(ApprovalDecision.content_hash).where(
            ApprovalDecision.organisation_id == self._tenant.organisation_id,
            ApprovalDecision.porf_id == porf.id,
            ApprovalDecision.round == porf.approval_round,
            ApprovalDecision.decision == Decision.APPROVED,
        )
        return await self._session.scalar(statement)

    async def history(self, porf_id: int, request: PageRequest) -> PageOf[Row[Any]]:
        statement = (
            select(*AuditEvent.__table__.columns, User.name.label("actor_name"))
            .outerjoin(User, User.id == AuditEvent.actor_id)
            .where(
                AuditEvent.organisation_id == self._tenant.organisation_id,
                AuditEvent.entity == "porf",
                AuditEvent.entity_id == porf_id,
            )
        )
        return await _EVENTS.page(self._session, statement, request)

    async def comments(self, porf_id: int, request: PageRequest) -> PageOf[Row[Any]]:
        statement = (
            select(*PorfComment.__table__.columns, User.name.label("author_name"))
            .join(User, User.id == PorfComment.author_id)
            .where(PorfComment.organisation_id == self._tenant.organisation_id, PorfComment.porf_id == porf_id)
        )
        return await _COMMENTS.page(self._session, statement, request)

    async def without_approver(self) -> Sequence[tuple[int, str]]:
        """The pending requests, as (id, number), that nobody active could approve."""
        statement = (
            select(Porf.id, Porf.number)
            .join(Organisation, Organisation.id == Porf.organisation_id)
            .where(
                Porf.organisation_id == self._tenant.organisation_id,
                Porf.status == PorfStatus.PENDING,
                ~_eligible_approver().exists(),
            )
            .order_by(Porf.id)
        )
        return [(row.id, row.number) for row in await self._session.execute(statement)]

    def _of(self, porf_id: int) -> ColumnElement[bool]:
        return and_(PorfLine.organisation_id == self._tenant.organisation_id, PorfLine.porf_id == porf_id)


def _of_its_lines(aggregate: ColumnElement[Any]) -> ColumnElement[Any]:
    """An aggregate of the lines of the outer query's request."""
    lines = and_(PorfLine.organisation_id == Porf.organisation_id, PorfLine.porf_id == Porf.id)
    return select(aggregate).where(lines).correlate(Porf).scalar_subquery()


def _any(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """No EXISTS: PostgreSQL may answer that by hashing all lines of the organisation, for a page of fifty requests."""
    return func.coalesce(func.bool_or(condition), false())


def _orderable() -> ColumnElement[Decimal]:
    """domain.orderable in SQL."""
    with_tolerance = PorfLine.quantity * (1 + PorfLine.over_order_percent / 100)
    return func.trunc(with_tolerance - PorfLine.ordered_quantity - PorfLine.closed_quantity, 4)


def _eligible_approver() -> Select[Any]:
    """Someone active who could approve the request of the outer query."""
    approver = User.__table__.alias("approver")
    within = or_(
        approver.c.approval_limit.is_(None),
        and_(approver.c.approval_limit >= Porf.total, Porf.currency == Organisation.currency),
    )
    return (
        select(true())
        .select_from(approver)
        .where(
            approver.c.organisation_id == Porf.organisation_id,
            approver.c.is_active,
            approver.c.roles.contains([Role.APPROVER]),
            or_(approver.c.id != Porf.requester_id, Organisation.allow_self_approval),
            within,
        )
        .correlate(Porf, Organisation)
    )


def _has_approver() -> ColumnElement[bool]:
    """Only a draft can be submitted: for the others the question is not asked."""
    return case((Porf.status == PorfStatus.DRAFT, _eligible_approver().exists()), else_=False)
