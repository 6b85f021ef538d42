"""The configuration: environment variables or `.env`, as `.env.example` documents them. No default secrets."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from limits import parse
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

MIN_SECRET_BYTES = 32
# A token that was stolen is soon worth nothing (security.md).
MAX_ACCESS_TOKEN_SECONDS = 900
RATE_LIMIT_STORES = {"memory", "redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster"}


class SettingsError(Exception):
    """A variable is wrong: one line that names it and never shows a secret's value."""


List = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[int, Field(ge=60, le=366 * 86400)]


class Settings(BaseSettings):
    """Names are the environment's, lower-cased. Unset database URLs mean the embedded server."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: SecretStr | None = None
    database_migration_url: SecretStr | None = None
    database_replica_url: SecretStr | None = None
    po_data_dir: Path = Path(".data")
    secret_key: SecretStr | None = None

    backup_dir: Path | None = None
    backup_keep_days: Annotated[int, Field(ge=0)] = 14
    backup_keep_count: Annotated[int, Field(ge=1)] = 3
    backup_max_age_hours: Annotated[int, Field(ge=1)] | None = None

    oidc_issuer: str = "https://accounts.google.com"
    google_client_id: str | None = None
    google_client_secret: SecretStr | None = None
    google_redirect_uri: str | None = None
    oidc_hosted_domain: List = ()
    jwt_access_token_expires: Annotated[int, Field(ge=1, le=MAX_ACCESS_TOKEN_SECONDS)] = MAX_ACCESS_TOKEN_SECONDS
    session_lifetime: Seconds = 30 * 86400
    session_idle_timeout: Seconds = 7 * 86400

    frontend_url: List = ()
    cors_origins: List = ()
    trusted_proxies: List = ()

    db_pool_size: Annotated[int, Field(ge=1, le=500)] = 20
    db_max_overflow: Annotated[int, Field(ge=0, le=500)] = 0
    db_pool_timeout: Annotated[float, Field(gt=0, le=60)] = 5
    db_statement_timeout_ms: Annotated[int, Field(ge=0)] = 15_000
    db_lock_timeout_ms: Annotated[int, Field(ge=0)] = 10_000
    db_idle_in_transaction_timeout_ms: Annotated[int, Field(ge=0)] = 30_000
    db_pgbouncer: bool = False
    sqlalchemy_echo: bool = False

    rate_limit_per_user: str = "100/minute"
    rate_limit_per_address: str = "20/minute"
    rate_limit_sign_in: str = "10/minute"
    rate_limit_refresh: str = "30/minute"
    rate_limit_storage_uri: str = "memory://"
    max_body_bytes: Annotated[int, Field(ge=1024)] = 12 * 1024 * 1024

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    web_concurrency: Annotated[int, Field(ge=1, le=256)] = 1

    @field_validator("cors_origins", "frontend_url", "oidc_hosted_domain", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(origin.rstrip("/") for origin in value)
        for origin in origins:
            if "*" in origin or not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError("each origin is scheme://host[:port], exactly; no wildcard")
        return origins

    @field_validator("oidc_issuer", "google_redirect_uri")
    @classmethod
    def _over_tls(cls, value: str | None) -> str | None:
        if value is not None and not is_secure_url(value):
            raise ValueError("expected an https:// address; http:// only for this machine")
        return value

    @field_validator("frontend_url")
    @classmethod
    def _front_ends(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not is_secure_url(url) or "#" in url:
                raise ValueError("each is an https:// address without fragment; http:// only for this machine")
        return value

    @field_validator("oidc_hosted_domain")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(domain.lower() for domain in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not _parses(ip_network if "/" in item else ip_address, item):
                raise ValueError("each is an IP address or a network such as 10.0.0.0/8")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"at least {MIN_SECRET_BYTES} bytes are needed")
        return value

    @field_validator("database_url", "database_migration_url", "database_replica_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            asyncpg_url(value.get_secret_value())
        return value

    @field_validator("database_replica_url")
    @classmethod
    def _replica_of_a_server(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("database_url", value) is None:
            raise ValueError("it takes DATABASE_URL besides: the embedded server has no replica")
        return value

    @field_validator("rate_limit_per_user", "rate_limit_per_address", "rate_limit_sign_in", "rate_limit_refresh")
    @classmethod
    def _rate(cls, value: str) -> str:
        try:
            parse(value)
        except ValueError:
            raise ValueError("expected a number of requests and a time, such as 100/minute") from None
        return value

    @field_validator("rate_limit_storage_uri")
    @classmethod
    def _known_store(cls, value: str) -> str:
        # `limits` would say the same, with the whole address and the password in it.
        if value.partition("://")[0].removeprefix("async+") not in RATE_LIMIT_STORES:
            raise ValueError("only memory:// and redis://host:6379 are supported")
        return value

    @field_validator("web_concurrency")
    @classmethod
    def _one_count(cls, value: int, info: ValidationInfo) -> int:
        store = info.data.get("rate_limit_storage_uri", "redis")
        if value > 1 and store.removeprefix("async+").startswith("memory"):
            raise ValueError("several workers need RATE_LIMIT_STORAGE_URI=redis://host:6379, or each would count alone")
        return value


def load_settings() -> Settings:
    """The configuration; SettingsError names every variable that is wrong, on one line and without its value."""
    try:
        return Settings()
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise SettingsError("; ".join(_explained(detail) for detail in details)) from None
    except (OSError, UnicodeError):
        raise SettingsError(".env: cannot be read as UTF-8 text") from None


def _explained(detail: ErrorDetails) -> str:
    """`PORT: input should be a valid integer`; the words of our own validators as they are."""
    reason = detail.get("ctx", {}).get("error") or detail["msg"]
    message = str(reason).partition(", ")[0] if detail["type"].endswith("_parsing") else str(reason)
    return f"{str(detail['loc'][0]).upper()}: {message[:1].lower()}{message[1:]}"


def asyncpg_url(url: str) -> URL:
    """Any `postgresql://…` form as an asyncpg URL; ValueError for anything else."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a ValueError quotes what it took for the port, part of a password perhaps
        raise ValueError("not a database URL; expected postgresql://user:password@host:5432/name") from None
    if parsed.drivername.split("+")[0] not in {"postgresql", "postgres"}:
        raise ValueError("only PostgreSQL is supported: postgresql://user:password@host:5432/name")
    return parsed.set(drivername="postgresql+asyncpg")


def is_secure_url(url: str) -> bool:
    """Whether `url` is absolute and nobody on the way can read what is sent there: https, or this very machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    is_local = host == "localhost" or (_parses(ip_address, host) and ip_address(host).is_loopback)
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_local))


def _parses(parse_address: Callable[[str], object], text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True
