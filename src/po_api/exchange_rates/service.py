"""Exchange rates of an organisation: add, correct, import, delete."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.csv_table import RowErrors
from po_api.core.offload import offload, offload_file
from po_api.core.permissions import Permission
from po_api.core.text import plain
from po_api.db.listeners import ChangeWarning
from po_api.db.query import TransactionExecutor
from po_api.exchange_rates import imports
from po_api.exchange_rates.domain import DatedRate, KnownRates, RateSource, jumps
from po_api.exchange_rates.errors import ExchangeRateNotFound, RateJump, RateOfBaseCurrency
from po_api.exchange_rates.queries import ExchangeRateQueries, ExchangeRateRow
from po_api.exchange_rates.repository import ExchangeRateRepository
from po_api.members.service import rights_of
from po_api.organisations.events import BaseCurrencyChanging
from po_api.organisations.queries import OrganisationQueries, OrganisationRow


class Imported(NamedTuple):
    """The numbers of rates that an import added and corrected, and of those that were there already."""

    added: int
    corrected: int
    unchanged: int


class ExchangeRateService:
    """Adds, corrects and deletes rates (admins: limits depend on them); the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = ExchangeRateRepository(session, actor)
        executor = TransactionExecutor(session)
        self._queries = ExchangeRateQueries(executor, actor)
        self._organisations = OrganisationQueries(executor)

    async def put(self, rate: DatedRate, *, source: RateSource, confirm: bool) -> tuple[ExchangeRateRow, bool]:
        """Add a rate, or correct the one of the same currency and day; returns it, and whether it is new.

        Documents keep the rate that they have. Raises MissingRole, RateOfBaseCurrency, or RateJump unless confirmed.
        """
        organisation = await self._locked_settings()
        if rate.currency == organisation.currency:
            raise RateOfBaseCurrency.at("/currency")
        stored = await self._queries.of([rate.currency])
        known = KnownRates(map(_dated, stored))
        if not confirm and (detail := _jump(rate, known, organisation)) is not None:
            raise RateJump.at("/rate", detail=detail)
        written, added = await self._write([rate], stored, source)
        unchanged = (row for row in stored if row.rate_date == rate.rate_date)
        return next(iter(written), None) or next(unchanged), added > 0

    async def import_file(self, content: bytes, *, confirm: bool) -> Imported:
        """Add or correct all rates of a CSV file.

        Each is compared with the one before it, in the file or not. Raises MissingRole, PayloadTooLarge, or
        ImportFailed with all errors.
        """
        self._actor.require(Permission.EXCHANGE_RATES_WRITE)
        errors = RowErrors()
        rows = await offload_file(imports.parse, content, errors)
        organisation = await self._locked_settings()
        rates = [item.rate for item in rows]
        stored = await self._queries.of(sorted({rate.currency for rate in rates}))
        await offload(len(rows), _check, rows, stored, organisation, errors, confirm=confirm)
        errors.raise_if_any()
        written, added = await self._write(rates, stored, RateSource.IMPORT)
        return Imported(added, len(written) - added, len(rates) - len(written))

    async def delete(self, rate_id: int) -> None:
        """Delete a rate that no document has. Raises MissingRole, ExchangeRateNotFound or RateInUse."""
        self._actor.require(Permission.EXCHANGE_RATES_WRITE)
        deleted = await self._repository.delete(rate_id)
        if deleted is None:
            raise ExchangeRateNotFound
        change = audit.Change("exchange_rate.delete", "exchange_rate", rate_id, before=_described(deleted))
        await audit.record(self._session, self._actor, change)

    async def _locked_settings(self) -> OrganisationRow:
        """The organisation, whose base currency stays until the transaction ends, as in creating a request.

        Raises MissingRole.
        """
        self._actor.require(Permission.EXCHANGE_RATES_WRITE)
        await rights_of(self._session, self._actor, self._actor.member_id)
        await self._repository.serialise()
        return await self._organisations.own(self._actor)

    async def _write(
        self, rates: Sequence[DatedRate], stored: Iterable[ExchangeRateRow], source: RateSource
    ) -> tuple[Sequence[ExchangeRateRow], int]:
        """Write the rates that differ from the stored ones: their rows, and how many are new."""
        before = {(row.currency, row.rate_date): row for row in stored}
        differing = [rate for rate in rates if _is_new(rate, before.get((rate.currency, rate.rate_date)))]
        if not differing:
            return (), 0
        rows = await self._repository.put(differing, source, now=utc_now())
        changes = [_change(row, before.get((row.currency, row.rate_date))) for row in rows]
        await audit.record(self._session, self._actor, *changes)
        return rows, sum((row.currency, row.rate_date) not in before for row in rows)


def _is_new(rate: DatedRate, stored: ExchangeRateRow | None) -> bool:
    return stored is None or stored.rate != rate.rate


def _check(
    rows: Sequence[imports.RateRow],
    stored: Sequence[ExchangeRateRow],
    organisation: OrganisationRow,
    errors: RowErrors,
    *,
    confirm: bool,
) -> None:
    """Add an error for each rate of the base currency and, unless confirmed, each that is far from the one before."""
    known = KnownRates(map(_dated, stored), (item.rate for item in rows))
    for item in rows:
        if item.rate.currency == organisation.currency:
            errors.add(item.row, "currency", RateOfBaseCurrency.code, "is the base currency, which has no rate")
        elif not confirm and (detail := _jump(item.rate, known, organisation)) is not None:
            errors.add(item.row, "rate", RateJump.code, detail)


def _dated(row: ExchangeRateRow) -> DatedRate:
    return DatedRate(row.currency, row.rate_date, row.rate)


def _jump(rate: DatedRate, known: KnownRates, organisation: OrganisationRow) -> str | None:
    """Why a rate may be a typing error, for people; None if it is near the one before."""
    last = known.last_before(rate)
    if last is None or not jumps(rate.rate, last.rate, organisation.max_rate_jump_percent):
        return None
    return (
        f"differs by more than {plain(organisation.max_rate_jump_percent)} % from the rate of"
        f" {last.rate_date}, {plain(last.rate)}; confirm it if it is right"
    )


def _described(rate: ExchangeRateRow) -> dict[str, object]:
    """The attributes of a rate in an event."""
    return {name: getattr(rate, name) for name in ("currency", "rate_date", "rate", "source")}


def _change(rate: ExchangeRateRow, before: ExchangeRateRow | None) -> audit.Change:
    """The event of a rate that was added or corrected."""
    action = "exchange_rate.create" if before is None else "exchange_rate.correct"
    return audit.Change(
        action, "exchange_rate", rate.id, None if before is None else _described(before), _described(rate)
    )


async def find_rates(session: AsyncSession, event: BaseCurrencyChanging) -> list[ChangeWarning]:
    """A warning about the exchange rates of the organisation, if there are any."""
    count = await ExchangeRateRepository(session, event.actor).count()
    return [ChangeWarning("exchange_rates", f"exchange rates: {count}")] if count else []
