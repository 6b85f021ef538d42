"""The configuration: environment variables or `.env`, documented in `.env.example`. No default secrets."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from po_api.core.clamav_url import clamav_url
from po_api.core.database_url import postgresql_url
from po_api.core.domains import a_label
from po_api.core.key_strength import weakness
from po_api.core.mail_url import MailDirectory, SmtpServer, mail_url
from po_api.core.service_account import ServiceAccount
from po_api.core.urls import WebUrl, web_url

MIN_SECRET_BYTES = 32
MIN_TOKEN_BYTES = 16
# What the frequencies of characters have to allow: half of what as many random hexadecimal digits have on average.
_MIN_SECRET_BITS = 60
_MIN_TOKEN_BITS = 28
# Proxies are in networks of one operator: a wider one would trust headers of almost any client.
_WIDEST_IPV4_PREFIX = 8
_WIDEST_IPV6_PREFIX = 20
_UNIQUE_LOCAL = IPv6Network("fc00::/7")
_MAPPED_IPV4 = IPv6Network("::ffff:0:0/96")
# A stolen token is valid for a short time only (security.md).
MAX_ACCESS_TOKEN_SECONDS = 900
# A local part that servers take with an addition, at a domain of two or more labels.
_SENDER = re.compile(r"[A-Za-z0-9_.=-]{1,30}@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")
RATE_LIMIT_STORES = {"memory", "redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster"}


class SettingsError(Exception):
    """An invalid variable. The message is one line with its name, never its value."""


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

    google_drive_credentials: Annotated[ServiceAccount | None, NoDecode] = None
    google_drive_url: str = "https://www.googleapis.com"
    filing_dir: Path | None = None

    mail_from: str | None = None
    mail_url: SecretStr | None = None
    public_url: str | None = None

    clamav_url: str | None = None

    frontend_url: List = ()
    cors_origins: List = ()
    trusted_proxies: List = ()
    webhook_allowed_networks: List = ()

    db_pool_size: Annotated[int, Field(ge=1, le=500)] = 20
    db_max_overflow: Annotated[int, Field(ge=0, le=500)] = 0
    db_pool_timeout: Annotated[float, Field(gt=0, le=60)] = 5
    db_statement_timeout_ms: Annotated[int, Field(ge=0)] = 15_000
    db_lock_timeout_ms: Annotated[int, Field(ge=0)] = 10_000
    db_idle_in_transaction_timeout_ms: Annotated[int, Field(ge=0)] = 30_000
    db_transaction_timeout_ms: Annotated[int, Field(ge=0)] = 30_000
    db_slow_query_ms: Annotated[int, Field(ge=1)] = 500
    db_pgbouncer: bool = False
    sqlalchemy_echo: bool = False

    rate_limit_per_user: str = "100/minute"
    rate_limit_per_address: str = "20/minute"
    rate_limit_sign_in: str = "10/minute"
    rate_limit_refresh: str = "30/minute"
    rate_limit_storage_uri: str = "memory://"
    max_body_bytes: Annotated[int, Field(ge=1024)] = 12 * 1024 * 1024
    export_max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000

    metrics_port: Annotated[int | None, Field(ge=1, le=65535)] = None
    metrics_host: str = "127.0.0.1"
    metrics_token: SecretStr | None = None
    otel_exporter_otlp_endpoint: str | None = None

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    web_concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    worker: bool = True

    @field_validator(
        "cors_origins",
        "frontend_url",
        "oidc_hosted_domain",
        "trusted_proxies",
        "webhook_allowed_networks",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_origin(item) for item in value)

    @field_validator("google_drive_credentials", mode="before")
    @classmethod
    def _service_account(cls, value: object) -> object:
        if not isinstance(value, str | Path):
            return value
        try:
            text = Path(value).read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise ValueError("the file cannot be read") from None
        return ServiceAccount.parse(text)

    @field_validator("filing_dir")
    @classmethod
    def _one_destination(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("google_drive_credentials") is not None:
            raise ValueError("documents are filed in one place, and GOOGLE_DRIVE_CREDENTIALS is set as well")
        return value

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = _parsed(value)
        if not url.is_secure:
            raise ValueError("expected an https:// URL; http:// only for the local machine")
        return str(url)

    @field_validator("clamav_url")
    @classmethod
    def _scanner(cls, value: str | None) -> str | None:
        if value is not None:
            clamav_url(value)
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        # Bounces go to a part of it: purchasing+…@example.com.
        if value is not None and not _SENDER.fullmatch(value):
            raise ValueError("expected one address without a name, such as purchasing@example.com")
        return value

    @field_validator("mail_url")
    @classmethod
    def _server_of_mail(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            mail_url(value.get_secret_value())
            if info.data.get("mail_from", "") is None:
                raise ValueError("requires MAIL_FROM, the address that mails come from")
        return value

    @property
    def mail_place(self) -> SmtpServer | MailDirectory | None:
        """Where mails are handed over."""
        return None if self.mail_url is None else mail_url(self.mail_url.get_secret_value())

    @field_validator("oidc_issuer", "google_redirect_uri", "google_drive_url")
    @classmethod
    def _over_tls(cls, value: str | None) -> str | None:
        # The provider compares both as they are written, so that they are not normalised.
        if value is not None and not _parsed(value).is_secure:
            raise ValueError("expected an https:// URL; http:// only for the local machine")
        return value

    @field_validator("frontend_url")
    @classmethod
    def _front_ends(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        urls = [_parsed(item) for item in value]
        if not all(url.is_secure for url in urls):
            raise ValueError("each address must be an https:// URL; http:// only for the local machine")
        return tuple(str(url) for url in urls)

    @field_validator("oidc_hosted_domain")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(a_label(domain) for domain in value)
        except ValueError:
            raise ValueError("each must be a domain such as example.com") from None

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            networks = [ip_network(item) for item in value]
        except ValueError:
            raise ValueError("each must be an IP address or a network such as 10.0.0.0/8") from None
        _require_narrow(networks)
        return value

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for item in value:
                ip_network(item)
        except ValueError:
            raise ValueError("each must be an IP address or a network such as 10.0.0.0/8") from None
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _require_strong(value.get_secret_value(), min_bytes=MIN_SECRET_BYTES, min_bits=_MIN_SECRET_BITS)
        return value

    @field_validator("metrics_token")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _require_strong(value.get_secret_value(), min_bytes=MIN_TOKEN_BYTES, min_bits=_MIN_TOKEN_BITS)
        return value

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _over_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("expected an http:// or https:// URL, such as http://127.0.0.1:4318")
        if value is not None:
            _parsed(value)
        return value

    @field_validator("database_url", "database_migration_url", "database_replica_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(postgresql_url(value.get_secret_value()))

    @field_validator("database_replica_url")
    @classmethod
    def _replica_of_a_server(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("database_url", value) is None:
            raise ValueError("requires DATABASE_URL: the embedded server has no replica")
        return value

    @field_validator("rate_limit_per_user", "rate_limit_per_address", "rate_limit_sign_in", "rate_limit_refresh")
    @classmethod
    def _rate(cls, value: str, info: ValidationInfo) -> str:
        if info.field_name is not None and value == cls.model_fields[info.field_name].default:
            return value
        from limits import parse  # noqa: PLC0415 - imports the clients of all stores, which commands do not need

        try:
            parse(value)
        except ValueError:
            raise ValueError("expected a number of requests per period, such as 100/minute") from None
        return value

    @field_validator("rate_limit_storage_uri")
    @classmethod
    def _known_store(cls, value: str) -> str:
        # The error of `limits` would contain the whole URL with the password.
        if value.partition("://")[0].removeprefix("async+") not in RATE_LIMIT_STORES:
            raise ValueError("only memory:// and redis://host:6379 are supported")
        _require_host(value.removeprefix("async+"))
        return value

    @field_validator("web_concurrency")
    @classmethod
    def _one_count(cls, value: int, info: ValidationInfo) -> int:
        store = info.data.get("rate_limit_storage_uri", "redis")
        if value > 1 and store.removeprefix("async+").startswith("memory"):
            raise ValueError("several workers require a shared RATE_LIMIT_STORAGE_URI=redis://host:6379")
        return value


def load_settings() -> Settings:
    """The configuration. Raises SettingsError with the name of every invalid variable, on one line, without values."""
    try:
        return Settings()
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise SettingsError("; ".join(_explained(detail) for detail in details)) from None
    except (OSError, UnicodeError):
        raise SettingsError(".env: cannot be read as UTF-8 text") from None


def _explained(detail: ErrorDetails) -> str:
    """`PORT: input should be a valid integer`; messages of the validators here are unchanged."""
    reason = detail.get("ctx", {}).get("error") or detail["msg"]
    message = str(reason).partition(", ")[0] if detail["type"].endswith("_parsing") else str(reason)
    return f"{str(detail['loc'][0]).upper()}: {message[:1].lower()}{message[1:]}"


def _parsed(text: str) -> WebUrl:
    """Raises ValueError with what is wrong, as a sentence."""
    try:
        return web_url(text)
    except ValueError as error:
        raise ValueError(f"the URL {error}") from None


def _origin(text: str) -> str:
    """The origin as browsers write it: without the default port, the host in lower case."""
    if "*" not in text and (url := _parsed(text)).path == "/":
        return url.origin
    raise ValueError("each origin must be scheme://host[:port], without wildcards")


def _require_strong(secret: str, *, min_bytes: int, min_bits: int) -> None:
    if len(secret.encode()) < min_bytes:
        raise ValueError(f"at least {min_bytes} bytes are required")
    found = weakness(secret, min_bits=min_bits)
    if found is not None:
        raise ValueError(f"it {found}: generate one with `openssl rand -hex 32`")


def _require_narrow(networks: Sequence[IPv4Network | IPv6Network]) -> None:
    """Raise ValueError if one network, or several together, contain most of the internet."""
    ipv4 = [item for item in networks if isinstance(item, IPv4Network)]
    ipv6 = [item for item in networks if isinstance(item, IPv6Network) and not item.subnet_of(_UNIQUE_LOCAL)]
    for item in ipv6:
        if item.overlaps(_MAPPED_IPV4):
            ipv4.append(IPv4Network((int(item.network_address) & 0xFFFFFFFF, max(0, item.prefixlen - 96))))
    # Adjacent networks count as one.
    is_wide = any(item.prefixlen < _WIDEST_IPV4_PREFIX for item in collapse_addresses(ipv4)) or any(
        item.prefixlen < _WIDEST_IPV6_PREFIX for item in collapse_addresses(ipv6)
    )
    if is_wide:
        raise ValueError(
            "too many addresses: name the proxies or their network, at most a /8 (IPv4) or a /20 (IPv6);"
            " any client in it can state any address as its own"
        )


def _require_host(uri: str) -> None:
    """Raise ValueError unless a redis:// URI has a host and a valid port. Others have several hosts, or a path."""
    if not uri.startswith(("redis://", "rediss://")):
        return
    try:
        parts = urlsplit(uri)
        is_complete = bool(parts.hostname) and parts.port != 0 and uri.isprintable() and " " not in uri
        # A password with / or ? would be read as host, path and query.
        is_complete = is_complete and "#" not in uri and "@" not in f"{parts.path}{parts.query}"
    except ValueError:
        is_complete = False
    if not is_complete:
        raise ValueError("expected redis://host:6379 or redis://:password@host:6379, the password percent-encoded")
