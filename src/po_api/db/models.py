"""The declarative base: one naming convention, bigint identities, tenant keys, UTC timestamps.

The schema is ready for Citus (architecture.md, rule 9): a tenant's table has `organisation_id` in its primary key, in
every unique constraint and in every foreign key, and no triggers.
"""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from po_api.core.clock import utc_now

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}

Timestamp = TIMESTAMP(timezone=True)
# Quantities, prices and percentages; the scale is part of the rule (domain.md).
Quantity = Numeric(18, 4)
Percent = Numeric(7, 4)


class _Amount(Numeric[Decimal]):
    """Amounts keep the scale they were rounded to ("12.50", "1250", "1.250"), so the column does not pad them."""

    def compare_values(self, x: Decimal | None, y: Decimal | None) -> bool:
        """Another scale is another value: 100.00 becomes 100 when the currency does."""
        return str(x) == str(y)


Amount = _Amount()


# The organisation that the transaction has entered, as the default of a column; NULL for none.
CURRENT_TENANT = text("nullif(current_setting('app.organisation_id', true), '')::bigint")


def optional_reference(
    table: str, column: str, referred: str, *order: str, key: str = "id"
) -> tuple[ForeignKeyConstraint, Index]:
    """A nullable reference to a row of the same organisation, and the index by which the rows that have it are found,
    in the order of the columns `order`."""
    return (
        ForeignKeyConstraint(["organisation_id", column], [f"{referred}.organisation_id", f"{referred}.{key}"]),
        Index(
            f"ix_{table}_organisation_id_{column}",
            "organisation_id",
            column,
            *order,
            postgresql_where=text(f"{column} IS NOT NULL"),
        ),
    )


class Base(DeclarativeBase):
    """The base of all entities."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = {int: BigInteger, str: Text, datetime: Timestamp, Decimal: Quantity}


class Timestamped:
    """When the row was created and when it was last changed."""

    created_at: Mapped[datetime] = mapped_column(default=utc_now, server_default=func.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(
        default=utc_now, onupdate=utc_now, server_default=func.now(), sort_order=91
    )


class Versioned:
    """The version in the ETag of a representation; each accepted change adds one."""

    version: Mapped[int] = mapped_column(Integer, default=1, server_default="1", sort_order=89)


class GlobalRow:
    """A row that belongs to no tenant: organisations, users, sessions."""

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True, sort_order=-10)


class TenantRow:
    """A row of one organisation, keyed `(organisation_id, id)`."""

    @declared_attr
    @classmethod
    def organisation_id(cls) -> Mapped[int]:
        return mapped_column(
            ForeignKey("organisations.id", name=f"fk_{cls.__tablename__}_organisation_id"),  # type: ignore[attr-defined]
            primary_key=True,
            sort_order=-20,
        )

    # `autoincrement` is explicit as the key is composite; without it the ORM inserts row by row.
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True, autoincrement=True, sort_order=-10)
