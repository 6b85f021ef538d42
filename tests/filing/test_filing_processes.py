"""Workers that are killed while they file, in processes of their own."""

import os
import signal
from pathlib import Path

import pytest

from po_api.settings import Settings
from support.applications import SECRET_KEY, application_on, client_of
from support.clusters import Cluster
from support.forked import ForkedServer, po_api
from support.google_drive import GoogleDrive
from support.migrations import migrated_database
from support.organisations import new_organisation, ok
from support.polling import until
from support.server_processes import environment_of

pytestmark = pytest.mark.heavy


async def test_a_worker_killed_after_the_upload_files_once(
    cluster: Cluster, settings: Settings, tmp_path: Path, drive: GoogleDrive
) -> None:
    credentials = drive.write_credentials(tmp_path)
    changes = {"google_drive_credentials": drive.account, "google_drive_url": drive.url, "filing_dir": None}
    async with (
        migrated_database(cluster) as database,
        application_on((database.owner, database.app), settings.model_copy(update=changes)) as app,
        client_of(app) as client,
    ):
        organisation = await new_organisation(app, client)
        folder = drive.folder("Orders")
        etag = (await ok(organisation.admin.get("/organisations/current"))).headers["ETag"]
        body = {"workspace_folder_id": folder.id}
        await ok(organisation.admin.patch("/organisations/current", etag=etag, json=body))
        shown = (await ok(organisation.admin.get("/organisations/current/filing"))).json()
        drive.put(folder, shown["verification"]["file_name"])
        await ok(organisation.admin.post("/organisations/current/filing/check"))
        for _ in range(3):
            order = await organisation.issued()
            await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
        environment = environment_of(
            tmp_path,
            DATABASE_URL=database.app,
            SECRET_KEY=SECRET_KEY,
            WORKER="on",
            GOOGLE_DRIVE_CREDENTIALS=str(credentials),
            GOOGLE_DRIVE_URL=drive.url,
        )

        def worker(*options: str) -> ForkedServer:
            log = tmp_path / "worker.log"
            return ForkedServer(po_api, "worker", *options, environment=environment, directory=tmp_path, log=log)

        async def filed() -> int:
            return len(await database.fetch("SELECT FROM document_filings WHERE status = 'done'"))

        killed = worker()

        def kill() -> None:
            drive.after_upload = lambda: None
            os.kill(killed.pid, signal.SIGKILL)

        drive.after_upload = kill
        assert killed.wait() == -signal.SIGKILL
        assert len(drive.documents(folder)) >= 1
        assert await filed() < 3
        # Its leases would end after minutes.
        await database.fetch("UPDATE document_filings SET leased_until = now() WHERE leased_until > now()")
        successor = worker()

        async def all_filed() -> bool:
            return await filed() == 3

        await until(all_filed, "three documents filed")
        successor.terminate()
        assert successor.wait() == 0, (tmp_path / "worker.log").read_text()
        # `documents` asserts that no path is there twice.
        assert len(drive.documents(folder)) == 3
