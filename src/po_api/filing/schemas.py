"""Bodies of responses about filing."""

from datetime import datetime

from pydantic import Field

from po_api.filing.domain import DestinationKind, FilingStatus
from po_api.purchase_orders.domain import FileKind
from po_api.web.schemas import Page, Schema


class FolderVerification(Schema):
    """How the folder is verified: share it with `account`, and put a file named `file_name` into it."""

    account: str = Field(examples=["po-api@company.iam.gserviceaccount.com"])
    file_name: str = Field(
        description="The name of a file with any content, with or without `.txt`; it depends on the folder's id",
        examples=["po-api-3kq7w2zv5m4tq6y7r2pd4xkfh3"],
    )


class FilingSettings(Schema):
    """Where the organisation's documents are filed, and how many are not."""

    destination: DestinationKind | None = Field(description="null: this installation files no documents")
    is_ready: bool = Field(description="Documents are filed; with Google Drive, the folder is verified")
    folder_id: str | None = Field(
        description="`workspace_folder_id` of the organisation; not used by a directory", examples=["1AbC_dEf"]
    )
    verification: FolderVerification | None = Field(description="null unless there is a folder in Google Drive")
    queued: int = Field(description="Documents that are about to be filed")
    held: int = Field(description="Documents that wait for the check")
    failed: int = Field(description="Documents that could not be filed, and are not tried again by themselves")


class FilingRead(Schema):
    """A document that is filed, or is to be."""

    id: int
    status: FilingStatus
    purchase_order_id: int
    number: str = Field(examples=["PO-2026-000001"])
    revision: int
    kind: FileKind
    path: str = Field(description="In the organisation's folder", examples=["2026/PO-2026-000001.pdf"])
    attempts: int
    next_attempt_at: datetime | None
    error_code: str | None = Field(
        description="Why the last attempt has failed, such as `folder_trashed`; docs/filing.md lists all",
        examples=["folder_trashed"],
    )
    error_detail: str | None = Field(description="For operators", examples=["403 storageQuotaExceeded"])
    remedy: str | None = Field(
        description="What to do about the error", examples=["Restore the folder, or its folder of the year."]
    )
    filed_at: datetime | None
    url: str | None = Field(
        description="Where Google Drive shows the document", examples=["https://drive.google.com/file/d/1AbC_dEf/view"]
    )
    created_at: datetime


class FilingPage(Page):
    """One page of filings."""

    items: list[FilingRead]
