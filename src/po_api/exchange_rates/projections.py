"""Exchange rates for the statements of other features: the rate that a document would get now.

The statements have the parameters `organisation_id` and `now`, and join the organisation.
"""

from sqlalchemy import (
    ColumnElement,
    Date,
    FromClause,
    and_,
    case,
    cast,
    false,
    func,
    literal_column,
    null,
    select,
    true,
)

from po_api.db.bulk_write import NOW
from po_api.db.query import ORGANISATION_ID, AnyColumn
from po_api.exchange_rates.models import ExchangeRate, Rate
from po_api.organisations.models import Organisation

_RATES = ExchangeRate.__table__
_ORGANISATIONS = Organisation.__table__


def has_rates() -> ColumnElement[bool]:
    """Whether the organisation has a rate of any currency: from then on, documents in other currencies need one."""
    return select(true()).select_from(_RATES).where(_RATES.c.organisation_id == ORGANISATION_ID).exists()


def rate_now(document: FromClause, organisation: FromClause = _ORGANISATIONS) -> AnyColumn:
    """The rate for the currency of a row of `document`: 1 for the base currency; NULL without a recent rate."""
    is_base = document.c.currency == organisation.c.currency
    return case((is_base, cast(literal_column("1"), Rate)), else_=_newest("rate", document, organisation))


def document_rate(document: FromClause, organisation: FromClause = _ORGANISATIONS) -> dict[str, AnyColumn]:
    """The columns of `DocumentRate` for the currency of a row of `document`."""
    is_base = document.c.currency == organisation.c.currency
    return {
        "base_currency": organisation.c.currency,
        "base_rate": rate_now(document, organisation),
        "base_rate_date": case((is_base, _today(organisation)), else_=_newest("rate_date", document, organisation)),
        "base_rate_id": case((is_base, null()), else_=_newest("id", document, organisation)),
    }


def lacks_rate(document: FromClause, organisation: FromClause = _ORGANISATIONS) -> ColumnElement[bool]:
    """Whether a row of `document` needs a rate and there is none, in a statement that joins the organisation."""
    return and_(
        document.c.currency != organisation.c.currency,
        has_rates(),
        _newest("id", document, organisation).is_(None),
    )


def draft_lacks_rate(document: FromClause) -> ColumnElement[bool]:
    """`lacks_rate` for drafts, and false for others, in a statement that does not join the organisation."""
    organisation = _ORGANISATIONS.alias("own")
    lacks = select(lacks_rate(document, organisation)).where(organisation.c.id == ORGANISATION_ID).correlate(document)
    return case((document.c.status == "draft", lacks.scalar_subquery()), else_=false())


def is_recent(rates: FromClause, day: AnyColumn, max_age: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a rate is not later than a day, and at most `max_age` days older."""
    return and_(rates.c.rate_date <= day, rates.c.rate_date >= day.op("-")(max_age))


def _today(organisation: FromClause) -> AnyColumn:
    return cast(func.timezone(organisation.c.timezone, NOW), Date)


def _newest(name: str, document: FromClause, organisation: FromClause) -> AnyColumn:
    """A column of the newest recent rate."""
    return (
        select(_RATES.c[name])
        .where(
            _RATES.c.organisation_id == ORGANISATION_ID,
            _RATES.c.currency == document.c.currency,
            is_recent(_RATES, _today(organisation), organisation.c.max_rate_age_days),
        )
        .order_by(_RATES.c.rate_date.desc())
        .limit(literal_column("1"))
        .correlate(document, organisation)
        .scalar_subquery()
    )
