"""The organisations' rows."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.organisations.models import NumberSeries, Organisation


class OrganisationRepository:
    """Named questions about organisations; who may ask them is the service's business."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, organisation_id: int) -> Organisation | None:
        return await self._session.get(Organisation, organisation_id)

    async def locked(self, organisation_id: int) -> Organisation | None:
        lock = {"key_share": True}
        return await self._session.get(Organisation, organisation_id, with_for_update=lock, populate_existing=True)

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
