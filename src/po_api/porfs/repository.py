"""The requests' rows that are changed, as one member of one organisation may see them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.tenancy import Tenant
from po_api.organisations.models import Organisation
from po_api.porfs.domain import Decision, PorfStatus
from po_api.porfs.models import ApprovalDecision, Porf, PorfLine
from po_api.porfs.queries import Sight, eligible_approver, visible


class PorfRepository:
    """Named questions about one organisation's requests; each starts from what the member may see."""

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._tenant = tenant

    async def locked(self, porf_ids: Collection[int]) -> Sequence[Porf]:
        """The requests, locked in the order of their ids."""
        statement = (
            select(Porf)
            .where(visible(Sight.of(self._tenant)), Porf.id.in_(porf_ids))
            .params(organisation_id=self._tenant.organisation_id, user_id=self._tenant.user_id)
            .order_by(Porf.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).all()

    async def lines(self, porf_id: int) -> Sequence[Any]:
        """All lines of one request in the order of their positions; the caller has seen that it may."""
        statement = select(*PorfLine.__table__.columns).where(self._of(porf_id)).order_by(PorfLine.position)
        return (await self._session.execute(statement)).all()

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

    async def without_approver(self) -> Sequence[tuple[int, str]]:
        """The pending requests, as (id, number), that nobody active could approve."""
        statement = (
            select(Porf.id, Porf.number)
            .join(Organisation, Organisation.id == Porf.organisation_id)
            .where(
                Porf.organisation_id == self._tenant.organisation_id,
                Porf.status == PorfStatus.PENDING,
                ~eligible_approver(Porf.__table__).exists(),
            )
            .order_by(Porf.id)
        )
        return [(row.id, row.number) for row in await self._session.execute(statement)]

    def _of(self, porf_id: int) -> ColumnElement[bool]:
        return and_(PorfLine.organisation_id == self._tenant.organisation_id, PorfLine.porf_id == porf_id)
