"""The files and folders of Google Drive (API v3) that filing uses, in shared drives, too."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from po_api.core.service_account import ServiceAccount
from po_api.filing.domain import FilingProblem, NotFiled
from po_api.filing.drive_http import AccessTokens, DriveHttp, JsonObject, drive_client
from po_api.filing.uploads import upload

FOLDER_TYPE = "application/vnd.google-apps.folder"
# The property by which a document that was filed is found again: the SHA-256 of its content. Properties of the account
# are hidden from others.
DIGEST = "po_api_sha256"

_FIELDS = "id,name,mimeType,trashed,webViewLink,driveId,appProperties,capabilities(canAddChildren)"
_ALL_DRIVES = {"supportsAllDrives": "true"}
_MISSING = frozenset({200, 404})


@dataclass(frozen=True)
class DriveFile:
    """A file or a folder. `drive_id` is that of the shared drive that it is in."""

    id: str
    name: str
    is_folder: bool
    is_trashed: bool
    takes_files: bool
    url: str | None
    drive_id: str | None
    digest: str | None

    @classmethod
    def of(cls, found: JsonObject) -> Self:
        properties, capabilities = found.get("appProperties") or {}, found.get("capabilities") or {}
        return cls(
            id=found["id"],
            name=found.get("name", ""),
            is_folder=found.get("mimeType") == FOLDER_TYPE,
            is_trashed=found.get("trashed") is True,
            takes_files=capabilities.get("canAddChildren") is True,
            url=found.get("webViewLink"),
            drive_id=found.get("driveId"),
            digest=properties.get(DIGEST),
        )


class Drive:
    """Google Drive, as a service account sees it. `url` is that of Google's API. Methods raise NotFiled."""

    def __init__(self, account: ServiceAccount, url: str) -> None:
        self.account = account
        self._url = url.rstrip("/")
        self._tokens = AccessTokens(account)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["DriveSession"]:
        async with drive_client() as client:
            yield DriveSession(DriveHttp(client, self._tokens), self._url)


class DriveSession:
    """Requests to Drive over one client."""

    def __init__(self, http: DriveHttp, url: str) -> None:
        self._http = http
        self._files = f"{url}/drive/v3/files"
        self._uploads = f"{url}/upload/drive/v3/files"

    async def get(self, file_id: str) -> DriveFile | None:
        """The file or folder; None if there is none, or the account does not see it."""
        params = {**_ALL_DRIVES, "fields": _FIELDS}
        answer = await self._http.request("GET", f"{self._files}/{file_id}", params=params, accepted=_MISSING)
        return DriveFile.of(answer.body) if answer.status != 404 else None

    async def contains(self, folder_id: str, name: str) -> bool:
        """Whether there is a file with this name, or with it and .txt, in a folder that may not exist."""
        names = f"(name = '{_quoted(name)}' or name = '{_quoted(name)}.txt')"
        query = {"q": f"'{_quoted(folder_id)}' in parents and {names} and trashed = false", "corpora": "allDrives"}
        answer = await self._list(query, accepted=_MISSING)
        return bool(answer.get("files"))

    async def find_folder(self, parent: DriveFile, name: str) -> DriveFile | None:
        """The oldest folder with this name in the parent."""
        found = await self._found(parent, f"mimeType = '{FOLDER_TYPE}' and name = '{_quoted(name)}'")
        return found[0] if found else None

    async def find_document(self, parent: DriveFile, name: str, digest: str) -> DriveFile | None:
        """The document with this content that was filed in the parent, also if it was renamed since.

        Raises NotFiled if another file has its name.
        """
        is_ours = f"appProperties has {{ key='{DIGEST}' and value='{digest}' }}"
        found = await self._found(parent, f"(name = '{_quoted(name)}' or {is_ours})")
        document = next((file for file in found if file.digest == digest), None)
        if found and document is None:
            raise NotFiled(FilingProblem.NAME_TAKEN, name)
        return document

    async def new_id(self) -> str:
        """An id for a file that is to be created: a repetition of the creation does not make another one."""
        answer = await self._http.request("GET", f"{self._files}/generateIds", params={"count": "1", "space": "drive"})
        ids = answer.body.get("ids")
        if not isinstance(ids, list) or len(ids) != 1 or not isinstance(ids[0], str):
            raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "no id")
        return ids[0]

    async def create_folder(self, folder_id: str, name: str, parent: DriveFile) -> DriveFile:
        """Create a folder with this id, unless there is one."""
        metadata = {"id": folder_id, "name": name, "mimeType": FOLDER_TYPE, "parents": [parent.id]}
        params = {**_ALL_DRIVES, "fields": _FIELDS}
        answer = await self._http.request(
            "POST", self._files, params=params, json=metadata, accepted=frozenset({200, 409})
        )
        return await self._existing(folder_id) if answer.status == 409 else DriveFile.of(answer.body)

    async def create_document(
        self, file_id: str, name: str, parent: DriveFile, *, digest: str, content: bytes
    ) -> DriveFile:
        """Upload a document with this id, unless there is a file with it."""
        metadata = {
            "id": file_id,
            "name": name,
            "mimeType": "application/xml" if name.endswith(".xml") else "application/pdf",
            "parents": [parent.id],
            "appProperties": {DIGEST: digest},
        }
        created = await upload(self._http, self._uploads, {**_ALL_DRIVES, "fields": _FIELDS}, metadata, content)
        return await self._existing(file_id) if created is None else DriveFile.of(created)

    async def _existing(self, file_id: str) -> DriveFile:
        """The file that a repeated creation has found."""
        found = await self.get(file_id)
        if found is None:
            raise IdUsedUp(file_id)
        return found

    async def _found(self, parent: DriveFile, condition: str) -> list[DriveFile]:
        query = {"q": f"'{_quoted(parent.id)}' in parents and {condition} and trashed = false"}
        # The corpus of a user has only those files of a shared drive that the account has opened.
        query |= {"corpora": "drive", "driveId": parent.drive_id} if parent.drive_id else {"corpora": "user"}
        answer = await self._list({**query, "orderBy": "createdTime"})
        files = [DriveFile.of(found) for found in answer.get("files") or ()]
        if answer.get("incompleteSearch") is True and not files:
            raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "incomplete search")
        return files

    async def _list(self, query: Mapping[str, str], accepted: frozenset[int] = frozenset({200})) -> JsonObject:
        params = {**query, **_ALL_DRIVES, "includeItemsFromAllDrives": "true", "pageSize": "10"}
        params["fields"] = f"incompleteSearch,files({_FIELDS})"
        return (await self._http.request("GET", self._files, params=params, accepted=accepted)).body


class IdUsedUp(Exception):
    """An id that was kept for a file was the id of another one, which was deleted for good."""


def _quoted(text: str) -> str:
    """Text in a string of Drive's query language."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
