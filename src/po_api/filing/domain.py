"""The rules of filing: where a document is filed, how a folder is verified, and how each problem ends."""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256

from po_api.purchase_orders.domain import document_name


class FilingStatus(StrEnum):
    """The status of a filing. What is `held` waits for an administrator, what has `failed` is not tried again."""

    QUEUED = "queued"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"


class DestinationKind(StrEnum):
    """Where the documents of an installation are filed."""

    GOOGLE_DRIVE = "google_drive"
    DIRECTORY = "directory"


class FilingProblem(StrEnum):
    """Why a document could not be filed."""

    FOLDER_UNVERIFIED = "folder_unverified"
    FOLDER_NOT_FOUND = "folder_not_found"
    FOLDER_TRASHED = "folder_trashed"
    FOLDER_READ_ONLY = "folder_read_only"
    STORAGE_FULL = "storage_full"
    NAME_TAKEN = "name_taken"
    NOT_CONFIGURED = "filing_not_configured"
    CREDENTIALS_REFUSED = "drive_credentials_refused"
    SCOPE_MISSING = "drive_scope_missing"
    DRIVE_DISABLED = "drive_disabled"
    DRIVE_REFUSED = "drive_refused"
    DRIVE_UNAVAILABLE = "drive_unavailable"
    RATE_LIMITED = "drive_rate_limited"
    DIRECTORY_MISSING = "directory_missing"
    DIRECTORY_READ_ONLY = "directory_read_only"
    DIRECTORY_FULL = "directory_full"


# What to do about each. An administrator's problems end the attempts; all others are retried.
_ADMINISTRATORS: Mapping[str, str] = {
    FilingProblem.FOLDER_UNVERIFIED: "Verify the folder: GET /organisations/current/filing says how.",
    FilingProblem.FOLDER_NOT_FOUND: "Share the folder with the service account again, or name another one.",
    FilingProblem.FOLDER_TRASHED: "Restore the folder, or its folder of the year, from the trash.",
    FilingProblem.FOLDER_READ_ONLY: "Let the service account add files to the folder.",
    FilingProblem.STORAGE_FULL: "Make room, or use a folder of a shared drive: service accounts have no storage.",
    FilingProblem.NAME_TAKEN: "Move or rename the other file that has the name of the document.",
}
_OTHERS: Mapping[str, str] = {
    FilingProblem.NOT_CONFIGURED: "The operator has to configure filing.",
    FilingProblem.CREDENTIALS_REFUSED: "The operator has to replace the key of the service account.",
    FilingProblem.SCOPE_MISSING: "The operator has to let the service account use Google Drive.",
    FilingProblem.DRIVE_DISABLED: "The operator has to enable the Google Drive API in the account's project.",
    FilingProblem.DRIVE_REFUSED: "The operator finds the reason in the detail.",
    FilingProblem.DRIVE_UNAVAILABLE: "Nothing: it is tried again.",
    FilingProblem.RATE_LIMITED: "Nothing: it is tried again.",
    FilingProblem.DIRECTORY_MISSING: "The operator has to create or mount the directory.",
    FilingProblem.DIRECTORY_READ_ONLY: "The operator has to make the directory writable.",
    FilingProblem.DIRECTORY_FULL: "The operator has to make room.",
}
_REMEDIES: Mapping[str, str] = {**_ADMINISTRATORS, **_OTHERS}


class NotFiled(Exception):
    """A document could not be filed, or a folder not be looked up. `detail` is for people and has no secrets."""

    def __init__(self, problem: FilingProblem, detail: str | None = None, *, after: timedelta | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail
        self.after = after

    @property
    def awaits_administrator(self) -> bool:
        """Whether another attempt fails, too, until an administrator of the organisation has acted."""
        return self.problem in _ADMINISTRATORS


def remedy(code: str | None) -> str | None:
    """What to do about an error code; None if nobody can do anything about it."""
    return _REMEDIES.get(code or "")


@dataclass(frozen=True)
class Place:
    """Where a document is filed: in a folder for the year of its order's number."""

    folder: str
    name: str

    @classmethod
    def of(cls, number: str, revision: int, kind: str) -> "Place":
        """The number is that of an order, as in PO-2026-000001."""
        return cls(number.split("-")[1], document_name(number, revision, kind))

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"


def verification_name(organisation_id: int, folder_id: str, *, key: str) -> str:
    """The name of the file that an organisation puts into its folder to prove that the folder is its own.

    It is derived from the key, 130 bits: no other organisation can find it out, and another folder takes another one.
    """
    text = f"verification of a folder\x00{organisation_id}\x00{folder_id}"
    digest = hmac.digest(key.encode(), text.encode(), sha256)
    return f"po-api-{base64.b32encode(digest).decode().lower()[:26]}"
