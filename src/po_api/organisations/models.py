"""The organisation: a tenant and its rules."""

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from po_api.db.models import Base, GlobalRow, Percent, Timestamped, Versioned

if TYPE_CHECKING:
    from po_api.users.models import User


class Organisation(GlobalRow, Versioned, Timestamped, Base):
    """A tenant: `currency` is its base currency (ISO 4217), `timezone` (IANA) determines the year in numbers."""

    __tablename__ = "organisations"
    __table_args__ = (
        CheckConstraint("name <> '' AND length(name) <= 255", name="name"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("tax_rounding IN ('document', 'line')", name="tax_rounding"),
        CheckConstraint("over_order_percent >= 0", name="over_order_percent"),
        CheckConstraint("porf_prefix ~ '^[A-Z0-9]{1,10}$' AND po_prefix ~ '^[A-Z0-9]{1,10}$'", name="prefixes"),
    )

    name: Mapped[str]
    workspace_folder_id: Mapped[str | None]
    timezone: Mapped[str] = mapped_column(default="UTC", server_default="UTC")
    currency: Mapped[str] = mapped_column(default="EUR", server_default="EUR")
    tax_rounding: Mapped[str] = mapped_column(default="document", server_default="document")
    over_order_percent: Mapped[Decimal] = mapped_column(Percent, default=Decimal(0), server_default="0")
    allow_self_approval: Mapped[bool] = mapped_column(default=False, server_default="false")
    porf_prefix: Mapped[str] = mapped_column(default="PORF", server_default="PORF")
    po_prefix: Mapped[str] = mapped_column(default="PO", server_default="PO")
    tax_id: Mapped[str | None]
    address: Mapped[str | None]

    users: Mapped[list["User"]] = relationship(back_populates="organisation", lazy="raise")


class NumberSeries(Base):
    """The next number of one kind of document in one period (a year of the organisation's time zone)."""

    __tablename__ = "number_series"
    __table_args__ = (
        CheckConstraint("document_type IN ('porf', 'purchase_order')", name="document_type"),
        CheckConstraint("next_value >= 1", name="next_value"),
    )

    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    document_type: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    next_value: Mapped[int]
