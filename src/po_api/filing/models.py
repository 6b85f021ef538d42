"""The folders that filing uses in Google Drive. Its queue is `purchase_orders.models.DocumentFiling`."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from po_api.core.clock import utc_now
from po_api.db.models import Base, TenantRow


class FilingFolder(TenantRow, Base):
    """The folder of a year in the organisation's folder. The row comes first, so that the folder is made once."""

    __tablename__ = "filing_folders"
    __table_args__ = (UniqueConstraint("organisation_id", "parent_id", "name", name="uq_filing_folders_name"),)

    parent_id: Mapped[str]
    name: Mapped[str]
    drive_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
