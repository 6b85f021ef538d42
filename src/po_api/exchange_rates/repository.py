"""Writes rows of exchange rates."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.db.bulk_write import NOW, as_json, json_rows
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.exchange_rates.domain import DatedRate, RateSource
from po_api.exchange_rates.errors import RateInUse
from po_api.exchange_rates.models import ExchangeRate
from po_api.exchange_rates.queries import ExchangeRateRow

_RATES = ExchangeRate.__table__
_ROWS = json_rows("rates", *_RATES.c["currency", "rate_date", "rate"])


class _Total(NamedTuple):
    total: int


def _put() -> Query[ExchangeRateRow]:
    """Add rates, or correct those of the same days."""
    values = {
        "organisation_id": ORGANISATION_ID,
        **{name: _ROWS.c[name] for name in ("currency", "rate_date", "rate")},
        **{name: bindparam(name, type_=_RATES.c[name].type) for name in ("source", "created_by_id")},
        "created_at": NOW,
        "updated_at": NOW,
    }
    added = insert(ExchangeRate).from_select(list(values), select(*values.values()), include_defaults=False)
    corrected = ("rate", "source", "created_by_id", "updated_at")
    put = added.on_conflict_do_update(
        constraint="uq_exchange_rates_currency", set_={name: added.excluded[name] for name in corrected}
    )
    columns = [_RATES.c[name] for name in ExchangeRateRow._fields]
    return Query("exchange_rates.put", put.returning(*columns), ExchangeRateRow)


_PUT = _put()
_COUNT = Query(
    "exchange_rates.count",
    select(func.count().label("total")).select_from(_RATES).where(ExchangeRate.organisation_id == ORGANISATION_ID),
    _Total,
)


class ExchangeRateRepository:
    """The rows of the exchange rates of the actor's organisation."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._actor = actor
        self._organisation_id = actor.organisation_id

    async def serialise(self) -> None:
        """Wait for other changes of the organisation's rates, and let later ones wait until the transaction ends."""
        lock = func.hashtextextended(f"exchange_rates {self._organisation_id}", 0)
        await self._session.execute(select(func.pg_advisory_xact_lock(lock)))

    async def put(self, rates: Sequence[DatedRate], source: RateSource, *, now: datetime) -> Sequence[ExchangeRateRow]:
        """Add rates, or correct those of the same currencies and days; returns the rows in no order."""
        return await self._executor.rows(
            _PUT,
            organisation_id=self._organisation_id,
            rates=as_json(rate._asdict() for rate in rates),
            source=source,
            created_by_id=self._actor.member_id,
            now=now,
        )

    async def delete(self, rate_id: int) -> ExchangeRateRow | None:
        """The rate that is deleted; None if there is none. Raises RateInUse if documents refer to it, also if one is
        submitted or issued at the same time."""
        statement = delete(ExchangeRate).where(
            ExchangeRate.organisation_id == self._organisation_id, ExchangeRate.id == rate_id
        )
        try:
            deleted = await self._session.execute(
                statement.returning(*(_RATES.c[name] for name in ExchangeRateRow._fields))
            )
        except (asyncpg.ForeignKeyViolationError, IntegrityError):
            raise RateInUse from None
        row = deleted.one_or_none()
        return None if row is None else ExchangeRateRow(*row)

    async def count(self) -> int:
        """The number of all rates of the organisation."""
        counted = await self._executor.row(_COUNT, organisation_id=self._organisation_id)
        assert counted is not None
        return counted.total
