"""The compatibility of the schema with earlier versions, as the migrations record it."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base


class SchemaInfo(Base):
    """The one row that the last migration wrote.

    `compatible_since` is the oldest revision whose application works with the schema as it is now.
    """

    __tablename__ = "schema_info"
    __table_args__ = (CheckConstraint("is_only_row", name="is_only_row"),)

    is_only_row: Mapped[bool] = mapped_column(primary_key=True, default=True, server_default="true")
    compatible_since: Mapped[str]
    updated_at: Mapped[datetime]
