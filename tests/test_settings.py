"""The configuration: `.env.example` is complete, and an invalid value gives one line without secrets."""

import re
import traceback
from pathlib import Path

import pytest

from po_api.settings import Settings, SettingsError, load_settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"
VARIABLES = sorted(name.upper() for name in Settings.model_fields)


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables of the environment, and no `.env` file."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def example() -> dict[str, str]:
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def test_the_example_has_every_variable_and_no_other() -> None:
    assert sorted(example()) == VARIABLES


def test_every_line_of_the_example_is_a_comment() -> None:
    assert all(line == "" or line.startswith("# ") for line in EXAMPLE.read_text().splitlines())


def test_the_example_uncommented_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in example().items()))
    assert load_settings() == Settings(_env_file=None)


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nHOST=::1\n")
    monkeypatch.setenv("PORT", "2")
    settings = load_settings()
    assert (settings.port, settings.host) == (2, "::1")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PORT", "x", "PORT: input should be a valid integer"),
        ("PORT", "65536", "PORT: input should be less than or equal to 65535"),
        ("DB_POOL_TIMEOUT", "0", "DB_POOL_TIMEOUT: input should be greater than 0"),
        ("SQLALCHEMY_ECHO", "perhaps", "SQLALCHEMY_ECHO: input should be a valid boolean"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("CORS_ORIGINS", "*", "CORS_ORIGINS: each origin must be scheme://host[:port], without wildcards"),
        (
            "CORS_ORIGINS",
            "https://a.example/b",
            "CORS_ORIGINS: each origin must be scheme://host[:port], without wildcards",
        ),
        (
            "RATE_LIMIT_PER_USER",
            "many",
            "RATE_LIMIT_PER_USER: expected a number of requests per period, such as 100/minute",
        ),
        ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY: input should be greater than or equal to 1"),
        (
            "WEB_CONCURRENCY",
            "2",
            "WEB_CONCURRENCY: several workers require a shared RATE_LIMIT_STORAGE_URI=redis://host:6379",
        ),
        ("METRICS_PORT", "0", "METRICS_PORT: input should be greater than or equal to 1"),
        ("METRICS_TOKEN", "guessable", "METRICS_TOKEN: at least 16 bytes are required"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "OTEL_EXPORTER_OTLP_ENDPOINT: expected an http:// or https:// URL, such as http://127.0.0.1:4318",
        ),
        (
            "DATABASE_REPLICA_URL",
            "postgresql://po_app@replica/po_api",
            "DATABASE_REPLICA_URL: requires DATABASE_URL: the embedded server has no replica",
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{re.escape(line)}$"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SECRET_KEY", "hunter2", "at least 32 bytes are required"),
        ("DATABASE_URL", "mysql://po:hunter2@db/po", "only PostgreSQL is supported: postgresql://"),
        ("DATABASE_URL", "postgresql:hunter2", "not a database URL; expected postgresql://"),
        ("DATABASE_MIGRATION_URL", "postgresql://po@db:hunter2/po", "not a database URL; expected postgresql://"),
        ("DATABASE_URL", "postgresql://po@a:1,b:hunter2/po", "not a database URL; expected postgresql://"),
        ("DATABASE_URL", "postgresql://po@a,b/po?port=1,2,3#hunter2", "not a database URL; expected postgresql://"),
        ("DATABASE_REPLICA_URL", "mysql://po:hunter2@db/po", "only PostgreSQL is supported: postgresql://"),
        ("RATE_LIMIT_STORAGE_URI", "reddis://:hunter2@cache", "only memory:// and redis://host:6379 are supported"),
    ],
)
def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{name}: {line}")
    assert "\n" not in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_several_workers_share_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    monkeypatch.setenv("RATE_LIMIT_STORAGE_URI", "redis://cache:6379")
    assert load_settings().web_concurrency == 4


def test_several_wrong_values_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    monkeypatch.setenv("PORT", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == "SECRET_KEY: at least 32 bytes are required; PORT: input should be a valid integer"


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff")
    with pytest.raises(SettingsError, match=r"^\.env: cannot be read as UTF-8 text$"):
        load_settings()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
def test_any_form_of_a_database_url_is_accepted(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://po_app:hunter2@db:5432/po_api?sslmode=require")
    settings = load_settings()
    assert settings.database_url is not None
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "merged"),
    [
        ("@a:5432,b:5433/po", "@/po?host=a,b&port=5432,5433"),
        ("@a,b/po?target_session_attrs=any", "@/po?host=a,b&port=5432,5432&target_session_attrs=any"),
        ("@/po?host=a:1&host=b:2", "@/po?host=a,b&port=1,2"),
        ("@/po?host=a&host=b&port=6432", "@/po?host=a,b&port=6432,6432"),
        ("@/po?host=/tmp/a:1&host=/tmp/b:2&sslmode=disable", "@/po?host=/tmp/a,/tmp/b&port=1,2&sslmode=disable"),
        ("@/po?host=a,b&port=1,2", "@/po?host=a,b&port=1,2"),
        ("@a:1/po", "@a:1/po"),
    ],
)
def test_several_hosts_are_understood_however_they_are_written(
    monkeypatch: pytest.MonkeyPatch, url: str, merged: str
) -> None:
    for name in ("DATABASE_URL", "DATABASE_MIGRATION_URL", "DATABASE_REPLICA_URL"):
        monkeypatch.setenv(name, f"postgresql://po_app:a%2Cb{url}")
    settings = load_settings()
    for value in (settings.database_url, settings.database_migration_url, settings.database_replica_url):
        assert value is not None
        assert value.get_secret_value() == f"postgresql://po_app:a%2Cb{merged}"


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example/, http://localhost:5173 ,")
    assert load_settings().cors_origins == ("https://a.example", "http://localhost:5173")
