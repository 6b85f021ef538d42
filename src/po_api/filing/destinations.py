"""Where documents are filed: in Google Drive or in a directory. Neither holds a connection while it waits."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.db.database import enter_tenant
from po_api.db.leases import Job
from po_api.db.query import TransactionExecutor
from po_api.filing import directory
from po_api.filing.domain import DestinationKind, FilingProblem, NotFiled, Place
from po_api.filing.drive import Drive, DriveFile, DriveSession, IdUsedUp
from po_api.filing.repository import DueDocument, FilingRepository
from po_api.organisations.queries import OrganisationRow
from po_api.settings import Settings


@dataclass(frozen=True)
class Filed:
    """Where a document is: its id and link in Google Drive; both are None in a directory."""

    drive_id: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Task:
    """A document to file, and how its rows are reached."""

    job: Job
    organisation: OrganisationRow
    document: DueDocument
    begin: Callable[[], AbstractAsyncContextManager[AsyncSession]]

    @property
    def place(self) -> Place:
        return Place.of(self.document.number, self.document.revision, self.document.kind)

    @asynccontextmanager
    async def repository(self) -> AsyncIterator[FilingRepository]:
        """The rows, in a transaction of their own."""
        async with self.begin() as session:
            await enter_tenant(session, self.job.organisation_id)
            yield FilingRepository(TransactionExecutor(session), self.job.organisation_id)


class Destination(Protocol):
    """A place for the documents of all organisations. Methods raise NotFiled."""

    kind: DestinationKind

    async def file(self, task: Task) -> Filed:
        """File a document once, however often it is called."""

    async def check(self, folder_id: str | None, proof: str) -> None:
        """Require that the organisation's documents can be filed: in Drive, that its folder contains a file named
        `proof`."""


class Directory:
    """A directory of the machine, in which each organisation has one named by its id.

    `root` has to exist; `prefix` is the path below it.
    """

    kind = DestinationKind.DIRECTORY

    def __init__(self, root: Path, prefix: str = "") -> None:
        self._root = root
        self._prefix = prefix

    async def file(self, task: Task) -> Filed:
        path = Path(self._prefix, str(task.job.organisation_id), task.place.path)
        await directory.write(self._root, path, task.document.content, digest=task.document.digest)
        return Filed()

    async def check(self, _folder_id: str | None, _proof: str) -> None:
        await directory.require_writable(self._root)


class GoogleDrive:
    """The folders of organisations in Google Drive."""

    kind = DestinationKind.GOOGLE_DRIVE

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    @property
    def account(self) -> str:
        """The e-mail address of the service account, with which folders are shared."""
        return self._drive.account.email

    async def check(self, folder_id: str | None, proof: str) -> None:
        assert folder_id is not None
        async with self._drive.connected() as drive:
            # One request, whatever the reason: its duration tells nothing about a folder that is not verified.
            if not await _contains(drive, folder_id, proof):
                raise NotFiled(FilingProblem.FOLDER_UNVERIFIED)
            _require_usable(await drive.get(folder_id))

    async def file(self, task: Task) -> Filed:
        organisation = task.organisation
        if organisation.workspace_folder_id is None or not organisation.workspace_folder_verified:
            raise NotFiled(FilingProblem.FOLDER_UNVERIFIED)
        async with self._drive.connected() as drive:
            folder = await _folder_of_year(drive, task, organisation.workspace_folder_id)
            document = await _filed(drive, task, folder)
        return Filed(document.id, document.url)


async def _contains(drive: DriveSession, folder_id: str, name: str) -> bool:
    try:
        return await drive.contains(folder_id, name)
    except NotFiled as error:
        if error.awaits_administrator:
            return False
        raise


async def _folder_of_year(drive: DriveSession, task: Task, parent_id: str) -> DriveFile:
    """The folder in the organisation's, found or made once: its id is kept before it is made."""
    name = task.place.folder
    async with task.repository() as rows:
        kept = await rows.folder(parent_id, name)
    folder = await drive.get(kept) if kept is not None else None
    if folder is None:
        parent = _require_usable(await drive.get(parent_id))
        if kept is None:
            kept = await _kept_folder(drive, task, parent)
        try:
            folder = await drive.create_folder(kept, name, parent)
        except IdUsedUp:
            async with task.repository() as rows:
                await rows.forget_folder(parent_id, name, kept)
            raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "folder was deleted") from None
    return _require_usable(folder)


async def _kept_folder(drive: DriveSession, task: Task, parent: DriveFile) -> str:
    """The id of the folder, which is that of another worker if that was faster."""
    name = task.place.folder
    found = await drive.find_folder(parent, name)
    drive_id = found.id if found is not None else await drive.new_id()
    async with task.repository() as rows:
        await rows.keep_folder(parent.id, name, drive_id)
    async with task.repository() as rows:
        kept = await rows.folder(parent.id, name)
    assert kept is not None
    return kept


async def _filed(drive: DriveSession, task: Task, folder: DriveFile) -> DriveFile:
    """The document in Drive: of an earlier attempt, or uploaded with an id that is kept before."""
    document, name = task.document, task.place.name
    drive_id = document.drive_id
    found = await drive.get(drive_id) if drive_id is not None else None
    if drive_id is None:
        found = await drive.find_document(folder, name, document.digest)
    if found is None:
        drive_id = drive_id or await _new_id(drive, task)
        try:
            found = await drive.create_document(
                drive_id, name, folder, digest=document.digest, content=document.content
            )
        except IdUsedUp:
            await _forget_id(task)
    if found is None or found.digest != document.digest or found.is_trashed:
        await _forget_id(task)
        raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "file was deleted")
    return found


async def _new_id(drive: DriveSession, task: Task) -> str:
    drive_id = await drive.new_id()
    async with task.repository() as rows:
        if not await rows.keep_id(task.job, drive_id):
            raise NotFiled(FilingProblem.DRIVE_UNAVAILABLE, "another attempt has begun")
    return drive_id


async def _forget_id(task: Task) -> None:
    async with task.repository() as rows:
        await rows.keep_id(task.job, None)


def _require_usable(folder: DriveFile | None) -> DriveFile:
    if folder is None or not folder.is_folder:
        raise NotFiled(FilingProblem.FOLDER_NOT_FOUND)
    if folder.is_trashed:
        raise NotFiled(FilingProblem.FOLDER_TRASHED, folder.name)
    if not folder.takes_files:
        raise NotFiled(FilingProblem.FOLDER_READ_ONLY, folder.name)
    return folder


def destination_of(settings: Settings) -> Destination | None:
    """Where this installation files documents. With the embedded server, by default in its data directory."""
    if settings.google_drive_credentials is not None:
        return GoogleDrive(Drive(settings.google_drive_credentials, settings.google_drive_url))
    if settings.filing_dir is not None:
        return Directory(settings.filing_dir)
    if settings.database_url is None:
        return Directory(settings.po_data_dir, "filed")
    return None
