"""The rules of filing."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.service_account import ServiceAccount
from po_api.filing.domain import FilingProblem, NotFiled, Place, remedy, verification_name
from po_api.settings import Settings, SettingsError, load_settings
from support.google_drive import GoogleDrive

KEY = "a" * 32


@pytest.mark.parametrize(
    ("number", "revision", "kind", "path"),
    [
        ("PO-2026-000001", 1, "issued", "2026/PO-2026-000001.pdf"),
        ("PO-2026-000001", 1, "cancelled", "2026/PO-2026-000001-CANCELLED.pdf"),
        ("X9-1999-1000000", 2, "superseded", "1999/X9-1999-1000000-r2-SUPERSEDED.pdf"),
    ],
)
def test_a_document_is_filed_under_the_year_of_its_number(number: str, revision: int, kind: str, path: str) -> None:
    assert Place.of(number, revision, kind).path == path


_IDS = st.tuples(st.integers(1, 2**63 - 1), st.from_regex(r"[A-Za-z0-9_-]{1,60}", fullmatch=True))


@given(_IDS, _IDS)
def test_each_organisation_and_folder_has_a_name_of_its_own(some: tuple[int, str], other: tuple[int, str]) -> None:
    names = [verification_name(*ids, key=KEY) for ids in (some, other)]
    assert (names[0] == names[1]) == (some == other)
    assert names[0] != verification_name(*some, key="b" * 32)
    assert names[0].startswith("po-api-")
    assert len(names[0]) == 33


def test_every_problem_has_a_remedy() -> None:
    assert all(remedy(problem) for problem in FilingProblem)
    assert remedy("timed_out") is remedy(None) is None
    assert NotFiled(FilingProblem.FOLDER_TRASHED).awaits_administrator
    assert not NotFiled(FilingProblem.CREDENTIALS_REFUSED).awaits_administrator


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drive = GoogleDrive()
    drive.url = "https://oauth2.googleapis.example"
    return drive.write_credentials(tmp_path_factory.mktemp("credentials"))


def test_the_settings_read_the_key_of_a_service_account(credentials: Path) -> None:
    settings = Settings(_env_file=None, google_drive_credentials=str(credentials))
    account = settings.google_drive_credentials
    assert isinstance(account, ServiceAccount)
    assert account.token_url == "https://oauth2.googleapis.example/token"
    assert "PRIVATE KEY" not in repr(settings)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"type": "authorized_user"}, "not the key of a service account"),
        ({"client_email": None}, "lacks one of"),
        ({"token_uri": "http://tokens.example/token"}, "token_uri in the file is not an https:// URL"),
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nsecret"}, "is not a key in PEM"),
    ],
)
def test_invalid_credentials_stop_the_start_without_being_shown(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], reason: str
) -> None:
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(json.loads(credentials.read_text()) | changed))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGLE_DRIVE_CREDENTIALS", str(path))
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).startswith("GOOGLE_DRIVE_CREDENTIALS: ")
    assert reason in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_missing_file_and_two_destinations_stop_the_start(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGLE_DRIVE_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(SettingsError, match="GOOGLE_DRIVE_CREDENTIALS: the file cannot be read"):
        load_settings()
    monkeypatch.setenv("GOOGLE_DRIVE_CREDENTIALS", str(credentials))
    monkeypatch.setenv("FILING_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match="FILING_DIR: documents are filed in one place"):
        load_settings()
