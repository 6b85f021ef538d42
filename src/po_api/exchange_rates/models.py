"""The exchange rates of an organisation."""

from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Amount, Base, TenantRow, Timestamped

Rate = Numeric(20, 10)


class ExchangeRate(TenantRow, Timestamped, Base):
    """A rate from a day on: units of the organisation's base currency for one unit of `currency`.

    Documents refer to the rate that they were submitted or issued with, and have a copy of it: a correction changes the
    row, and no document. `created_by_id` is the member who wrote it last.
    """

    __tablename__ = "exchange_rates"
    __table_args__ = (
        UniqueConstraint("organisation_id", "currency", "rate_date", name="uq_exchange_rates_currency"),
        ForeignKeyConstraint(["organisation_id", "created_by_id"], ["members.organisation_id", "members.user_id"]),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("rate > 0 AND rate < 'Infinity'", name="rate"),
        CheckConstraint("source IN ('manual', 'import', 'ecb')", name="source"),
        Index("ix_exchange_rates_organisation_id_rate_date", "organisation_id", "rate_date", "id"),
        Index("ix_exchange_rates_organisation_id_created_at", "organisation_id", "created_at", "id"),
        Index("ix_exchange_rates_organisation_id_updated_at", "organisation_id", "updated_at", "id"),
        Index("ix_exchange_rates_organisation_id_created_by_id", "organisation_id", "created_by_id"),
    )

    currency: Mapped[str]
    rate_date: Mapped[date]
    rate: Mapped[Decimal] = mapped_column(Rate)
    source: Mapped[str]
    created_by_id: Mapped[int]


class BaseAmountColumns:
    """The amounts of a document in the organisation's base currency (domain.BaseAmounts), fixed when it is submitted or
    issued. The version before revision 045 writes none, and keeps those of a request that it recalls: in drafts they
    mean nothing."""

    base_currency: Mapped[str | None]
    base_rate: Mapped[Decimal | None] = mapped_column(Rate)
    base_rate_date: Mapped[date | None]
    base_rate_id: Mapped[int | None]
    base_net: Mapped[Decimal | None] = mapped_column(Amount)
    base_total: Mapped[Decimal | None] = mapped_column(Amount)


def base_amount_constraints(table: str) -> list[CheckConstraint | ForeignKeyConstraint | Index]:
    """The constraints of `BaseAmountColumns`, and the index of the reference to the rate."""
    rounded = " AND ".join(f"base_{name} = round({name} * base_rate, scale(base_{name}))" for name in ("net", "total"))
    return [
        ForeignKeyConstraint(
            ["organisation_id", "base_rate_id"], ["exchange_rates.organisation_id", "exchange_rates.id"]
        ),
        CheckConstraint(
            "num_nonnulls(base_currency, base_rate, base_rate_date, base_net, base_total) IN (0, 5)",
            name="base_amounts",
        ),
        CheckConstraint(f"status IN ('draft', 'cancelled') OR base_rate IS NULL OR ({rounded})", name="base_total"),
        CheckConstraint(
            "status IN ('draft', 'cancelled') OR base_currency <> currency OR base_rate = 1", name="base_rate"
        ),
        Index(
            f"ix_{table}_organisation_id_base_rate_id",
            "organisation_id",
            "base_rate_id",
            postgresql_where=text("base_rate_id IS NOT NULL"),
        ),
    ]
