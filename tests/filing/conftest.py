"""Google Drive, and the application that files there."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI

from po_api.settings import Settings
from support.applications import application_on, client_of
from support.google_drive import GoogleDrive, running_drive
from support.organisations import TestOrganisation, new_organisation


@pytest.fixture(scope="session")
def running_google() -> Iterator[GoogleDrive]:
    with running_drive() as drive:
        yield drive


@pytest.fixture
def drive(running_google: GoogleDrive) -> GoogleDrive:
    """Google Drive without files."""
    running_google.reset()
    return running_google


@pytest.fixture(scope="session")
async def filing_app(urls: tuple[str, str], settings: Settings, running_google: GoogleDrive) -> AsyncIterator[FastAPI]:
    """An application that files in Google Drive."""
    url, account = running_google.url, running_google.account
    changes = {"google_drive_credentials": account, "google_drive_url": url, "filing_dir": None}
    async with application_on(urls, settings.model_copy(update=changes)) as made:
        yield made


@pytest.fixture
async def filing(filing_app: FastAPI, drive: GoogleDrive) -> AsyncIterator[TestOrganisation]:
    """An organisation of it, without a folder."""
    async with client_of(filing_app) as client:
        yield await new_organisation(filing_app, client)
