"""The configuration: `.env.example` is complete, and an invalid value gives one line without secrets."""

import re
import secrets
import traceback
from pathlib import Path

import pytest

from po_api.core.key_strength import weakness
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
        ("DATABASE_URL", "postgresql://po:hun#ter/hunter2@db/po", "not a database URL; expected postgresql://"),
        ("DATABASE_URL", "postgresql://po:12/hunter2@db/po", "not a database URL; expected postgresql://"),
        ("DATABASE_URL", "postgresql://po:12?hunter2=1@db/po", "not a database URL; expected postgresql://"),
        ("DATABASE_URL", "postgresql://po@12?hunter2=1", "parameter 1 of the query is not one of libpq's"),
        ("DATABASE_URL", "postgresql://db/po?sslmode=hunter2", "the parameter sslmode must be disable or allow or "),
        ("RATE_LIMIT_STORAGE_URI", "reddis://:hunter2@cache", "only memory:// and redis://host:6379 are supported"),
        ("RATE_LIMIT_STORAGE_URI", "redis://po:12/hunter2@cache:6379", "expected redis://host:6379 or redis://"),
        ("RATE_LIMIT_STORAGE_URI", "redis://po:12#hunter2@cache:6379", "expected redis://host:6379 or redis://"),
    ],
)
def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{name}: {line}")
    assert "\n" not in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


STRONG = "5d1f0a7c93be48d26f3a9c05e1b7d842"
GENERATE = "generate one with `openssl rand -hex 32`"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a" * 32, "it has too few different characters"),
        ("a" * 31 + "b", "it has too few different characters"),
        ("ab" * 40, "it repeats one pattern"),
        ("a" * 60 + "hunter2", "it has too few different characters"),
        ("0" * 64, "it has too few different characters"),
        (" " * 60 + "hunter2", "it has too few different characters"),
        ("hunter2-" * 4, "it repeats one pattern"),
        ("hunter2-hunter2-hunter2-hunter2-hunt", "it repeats one pattern"),
        ("0123456789abcdef" * 2, "it repeats one pattern"),
        (STRONG + STRONG, "it repeats one pattern"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", "it is a sequence of characters"),
        ("zyxwvutsrqponmlkjihgfedcba9876543210", "it is a sequence of characters"),
        ("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "it is a published example"),
        ("ChangeMe-6f3a9c05e1b7d8425d1f0a7c", "it contains a placeholder such as changeme"),
        ("django-insecure-6f3a9c05e1b7d8425d1f", "it contains a placeholder such as changeme"),
    ],
)
def test_a_key_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, line: str) -> None:
    monkeypatch.setenv("SECRET_KEY", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"SECRET_KEY: {line}: {GENERATE}"
    assert value not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", ["a" * 16, "abababababababab", "abcdefghijklmnop", "hunter2-hunter2-"])
def test_a_token_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("METRICS_TOKEN", value)
    with pytest.raises(SettingsError, match=r"^METRICS_TOKEN: it [a-z ]+: generate one with") as caught:
        load_settings()
    assert value not in str(caught.value)


def test_generated_secrets_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(1000):
        for secret in (secrets.token_hex(16), secrets.token_hex(32), secrets.token_urlsafe(32)):
            assert weakness(secret, min_bits=60) is None
        for token in (secrets.token_hex(8), secrets.token_urlsafe(12)):
            assert weakness(token, min_bits=28) is None
    monkeypatch.setenv("SECRET_KEY", STRONG)
    assert load_settings().secret_key is not None


PROXIES = (
    "TRUSTED_PROXIES: too many addresses: name the proxies or their network, at most a /8 (IPv4) or a /20 (IPv6);"
    " any client in it can state any address as its own"
)


@pytest.mark.parametrize(
    "value",
    [
        "0.0.0.0/0",
        "::/0",
        "10.0.0.1, ::/0",
        "0.0.0.0/1, 128.0.0.0/1",
        ",".join(f"{number}.0.0.0/8" for number in range(256)),
        "64.0.0.0/7",
        "2000::/3",
        "::/1, 8000::/1",
        "::ffff:0:0/96",
        "::ffff:0.0.0.0/97, ::ffff:128.0.0.0/97",
        "::/80",
    ],
)
def test_proxies_are_not_everybody(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == PROXIES


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "all"])
def test_what_is_no_proxy_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", value)
    with pytest.raises(SettingsError, match=r"^TRUSTED_PROXIES: each must be an IP address or a network such as"):
        load_settings()


def test_networks_of_one_operator_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("10.0.0.0/8, fc00::/7", "172.16.0.0/12,192.168.0.0/16", "104.16.0.0/13, 2400:cb00::/32", "::1"):
        monkeypatch.setenv("TRUSTED_PROXIES", value)
        assert load_settings().trusted_proxies


URLS = {
    "https://po.example.com@evil": "has user information before the host (…@)",
    "https://user:hunter2@po.example.com/": "has user information before the host (…@)",
    "https://po.example.com\\@evil": "contains characters that a URL cannot have",
    "https://po.example.com/#fragment": "has a fragment",
    "https://po.example.com/?query": "has a query",
    "https://po.example.com?": "has a query",
    "https://*.example.com": "contains a wildcard",
    "https://po.example.com/*": "contains a wildcard",
    "https://straße.example": "contains non-ASCII characters: write the host as xn--…",
    "https://po.exam\tple.com": "contains white space or control characters",
    "https://po.example.com/a b": "contains white space or control characters",
    "https://po.example.com/\x7f": "contains white space or control characters",
    "https://po.example.com:": "has an invalid port",
    "https://po.example.com:0": "has an invalid port",
    "https://po.example.com:65536": "has an invalid port",
    "https://po.example.com:https": "has an invalid port",
    "https://": "has an invalid host",
    "https:///po.example.com": "has an invalid host",
    "https://po..example.com": "has an invalid host",
    "https://-po.example.com": "has an invalid host",
    "https://po.example.com.": "has an invalid host",
    "https://2130706433": "has an invalid host",
    "https://0x7f.1": "has an invalid host",
    "https://1.2.3.256": "has an invalid host",
    "https://[::1": "has an invalid host",
    "https://[::1%25eth0]": "has an invalid host",
    "https://[1.2.3.4]": "has an invalid host",
    "https://po.example.com/a/../b": "has dot segments in its path",
    "https://po.example.com/%2e%2E/": "has dot segments in its path",
    "po.example.com": "does not begin with https:// or http://",
    "//po.example.com": "does not begin with https:// or http://",
    "https:po.example.com": "does not begin with https:// or http://",
    "ftp://po.example.com": "does not begin with https:// or http://",
    "javascript:alert(1)": "does not begin with https:// or http://",
}


@pytest.mark.parametrize("name", ["FRONTEND_URL", "GOOGLE_REDIRECT_URI", "OIDC_ISSUER", "CORS_ORIGINS"])
@pytest.mark.parametrize(("value", "reason"), URLS.items())
def test_a_url_that_can_be_read_in_two_ways_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    if name == "CORS_ORIGINS" and "wildcard" in reason:
        reason = "each origin must be scheme://host[:port], without wildcards"
    else:
        reason = f"the URL {reason}"
    assert str(caught.value) == f"{name}: {reason}"
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("FRONTEND_URL", "http://po.example.com/", "each address must be an https:// URL; http:// only for"),
        ("FRONTEND_URL", "https://a.example/, https://b.example/#x", "the URL has a fragment"),
        ("GOOGLE_REDIRECT_URI", "http://po.example.com/", "expected an https:// URL; http:// only for"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@collector:4318", "the URL has user information"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4318", "the URL has an invalid host"),
        ("OIDC_HOSTED_DOMAIN", "*.example.com", "each must be a domain such as example.com"),
        ("OIDC_HOSTED_DOMAIN", "@example.com", "each must be a domain such as example.com"),
        ("OIDC_HOSTED_DOMAIN", "https://example.com", "each must be a domain such as example.com"),
        ("OIDC_HOSTED_DOMAIN", "example..com", "each must be a domain such as example.com"),
        ("RATE_LIMIT_STORAGE_URI", "redis://:hunter2/x@cache:6379", "expected redis://host:6379 or redis://:password@"),
        ("RATE_LIMIT_STORAGE_URI", "redis://:hunter2#x@cache:6379", "expected redis://host:6379 or redis://:password@"),
        ("RATE_LIMIT_STORAGE_URI", "redis://:hunter2@cache:port", "expected redis://host:6379 or redis://:password@"),
        ("RATE_LIMIT_STORAGE_URI", "redis://", "expected redis://host:6379 or redis://:password@"),
    ],
)
def test_neighbouring_values_are_checked_as_well(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{name}: {line}")
    assert "\n" not in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_urls_have_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONTEND_URL", "HTTPS://PO.example.com:443, http://localhost:5173/app")
    monkeypatch.setenv("CORS_ORIGINS", "https://PO.example.com:443/, http://[::1]:80, http://192.0.2.1:8080")
    monkeypatch.setenv("OIDC_HOSTED_DOMAIN", "Straße.example, xn--strae-oqa.example, EXAMPLE.com")
    settings = load_settings()
    assert settings.frontend_url == ("https://po.example.com/", "http://localhost:5173/app")
    assert settings.cors_origins == ("https://po.example.com", "http://[::1]", "http://192.0.2.1:8080")
    assert settings.oidc_hosted_domain == ("xn--strae-oqa.example", "xn--strae-oqa.example", "example.com")


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
