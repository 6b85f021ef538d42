"""Making the files for the supplier part of an order that is issued."""

from sqlalchemy import Update, update

from po_api.db.query import ORGANISATION_ID, AnyColumn
from po_api.files.domain import FileVisibility
from po_api.files.models import Attachment


def freeze_supplier_files(order_id: AnyColumn, revision: AnyColumn) -> Update:
    """The part of a statement that makes the files for the supplier part of a revision of an order."""
    return (
        update(Attachment)
        .values(frozen_revision=revision)
        .where(
            Attachment.organisation_id == ORGANISATION_ID,
            Attachment.purchase_order_id == order_id,
            Attachment.visibility == FileVisibility.SUPPLIER.value,
            Attachment.frozen_revision.is_(None),
            Attachment.deleted_at.is_(None),
        )
    )
