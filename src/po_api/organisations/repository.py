"""The organisations' rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.pagination import Keyset, PageOf, PageRequest
from po_api.organisations.models import NumberSeries, Organisation

SORTS = ("created_at", "name")
_KEYSET = Keyset(
    {"created_at": Organisation.created_at, "name": Organisation.name},
    id_column=Organisation.id,
    default="created_at",
)


def _member() -> Any:
    """The users' entity by way of the relationship: that feature stands above this one."""
    return Organisation.users.property.mapper.class_


class OrganisationRepository:
    """Named questions about organisations; who may ask them is the service's business."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, organisation_id: int) -> Organisation | None:
        return await self._session.get(Organisation, organisation_id)

    async def locked(self, organisation_id: int) -> Organisation | None:
        lock = {"key_share": True}
        return await self._session.get(Organisation, organisation_id, with_for_update=lock, populate_existing=True)

    async def members(self, organisation_id: int) -> Sequence[Row[Any]]:
        member = _member()
        statement = (
            select(*member.__table__.columns)
            .where(member.organisation_id == organisation_id)
            .order_by(member.name, member.id)
        )
        return (await self._session.execute(statement)).all()

    async def page(self, request: PageRequest, *, active_since: datetime | None) -> PageOf[Row[Any]]:
        statement = select(*Organisation.__table__.columns)
        if active_since is not None:
            statement = statement.where(Organisation.users.any(_member().last_login >= active_since))
        return await _KEYSET.page(self._session, statement, request)

    async def next_value(self, organisation_id: int, document_type: str, period: str) -> int:
        """Take the next value of a series; its row stays locked until the end of the transaction."""
        statement = (
            insert(NumberSeries)
            .values(organisation_id=organisation_id, document_type=document_type, period=period, next_value=2)
            .on_conflict_do_update(
                index_elements=[NumberSeries.organisation_id, NumberSeries.document_type, NumberSeries.period],
                set_={"next_value": NumberSeries.next_value + 1},
            )
            .returning(NumberSeries.next_value - 1)
        )
        return int((await self._session.execute(statement)).scalar_one())

    async def likely_value(self, organisation_id: int, document_type: str, period: str) -> int:
        """What `next_value` would give now."""
        found = await self._session.get(NumberSeries, (organisation_id, document_type, period), populate_existing=True)
        return 1 if found is None else found.next_value
