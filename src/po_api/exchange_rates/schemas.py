"""Bodies of requests and responses about exchange rates."""

from datetime import date, datetime
from typing import Annotated

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from po_api.exchange_rates.domain import RateSource
from po_api.web.schemas import Currency, IsoDate, Page, RateString, Schema, require_file


class ExchangeRateCreate(Schema):
    """The rate of a currency from a day on."""

    currency: Currency
    rate_date: IsoDate
    rate: RateString = Field(description="Units of the base currency for one unit of `currency`")
    source: RateSource = RateSource.MANUAL
    confirm: StrictBool = Field(default=False, description="The rate is right, although it is far from the one before")


class ExchangeRateRead(Schema):
    """A rate, in units of the base currency for one unit of `currency`."""

    id: int
    currency: str = Field(examples=["USD"])
    rate_date: date
    rate: RateString
    source: RateSource
    created_by_id: int = Field(description="The member who added or last corrected it")
    created_at: datetime
    updated_at: datetime


class ExchangeRatePage(Page):
    """One page of exchange rates."""

    items: list[ExchangeRateRead]


class ExchangeRateImportBody(BaseModel):
    """The form of an import."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile,
        BeforeValidator(require_file),
        Field(description="CSV in UTF-8 with the columns `currency`, `rate_date` and `rate`; at most 10,000 rows"),
    ]
    confirm: bool = Field(default=False, description="All rates are right, also those far from the one before")


class ExchangeRatesImported(Schema):
    """The numbers of rates that were added and corrected, and of those that were there already."""

    added: int
    corrected: int
    unchanged: int
