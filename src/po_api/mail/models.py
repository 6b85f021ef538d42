"""How many mails organisations have sent."""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base


class MailQuota(Base):
    """The mails that an organisation has requested on one day (UTC)."""

    __tablename__ = "mail_quotas"
    __table_args__ = (CheckConstraint("used >= 1", name="used"),)

    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    used: Mapped[int] = mapped_column(Integer)
