"""Errors of exchange rates."""

from typing import Self

from po_api.core.errors import Conflict, NotFound, Unprocessable


class ExchangeRateNotFound(NotFound):
    """The exchange rate does not exist, or does not belong to the caller's organisation."""

    code = "exchange_rate_not_found"
    title = "Exchange rate not found"


class RateMissing(Conflict):
    """The organisation has exchange rates, but none for the currency of the document that is recent enough: up to the
    day of the document in the organisation's time zone, and at most `max_rate_age_days` old. An administrator has to
    add one (`POST /exchange-rates`)."""

    code = "rate_missing"
    title = "No recent exchange rate"
    # The rate was deleted meanwhile.
    constraint = ("fk_porfs_organisation_id_base_rate_id", "fk_purchase_orders_organisation_id_base_rate_id")

    @classmethod
    def of(cls, currency: str) -> Self:
        """The error for a document in this currency."""
        return cls.at("/currency", detail=f"there is no exchange rate for {currency} that is recent enough")


class RateJump(Conflict):
    """The rate differs from the one before by more than `max_rate_jump_percent` of the organisation, which may be a
    typing error. Send it with `confirm` if it is right."""

    code = "rate_jump"
    title = "Rate far from the one before"


class RateInUse(Conflict):
    """Requests or orders have been submitted or issued with this rate. It can be corrected, which changes none of
    them, but not deleted."""

    code = "rate_in_use"
    title = "Exchange rate in use"


class RateOfBaseCurrency(Unprocessable):
    """Rates are units of the organisation's base currency for one unit of another currency: the base currency itself
    has none."""

    code = "rate_of_base_currency"
    title = "The base currency has no rate"


class BaseAmountTooLarge(Unprocessable):
    """The amount of a document in the organisation's base currency exceeds the maximum of a document."""

    code = "base_amount_too_large"
    title = "Amount too large in the base currency"
