"""The parameters of libpq's URLs: those that the driver has, those carried out here, and those that are refused.

What the driver cannot do is refused only where it is required: ignoring `channel_binding=require` would be less secure
than what the operator configured.
"""

import re
from collections.abc import Mapping

_SECURE = "use sslmode=verify-full instead"
# Text that the driver takes as it is.
_TEXTS = frozenset(
    {
        "application_name",
        "dbname",
        "fallback_application_name",
        "host",
        "krbsrvname",
        "options",
        "passfile",
        "password",
        "port",
        "service",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslpassword",
        "sslrootcert",
        "user",
    }
)
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
# The values that are supported.
_CHOICES = {
    "channel_binding": ("prefer", "disable"),
    "client_encoding": ("UTF8", "UTF-8", "auto"),
    "gssdelegation": ("0",),
    "gssencmode": ("prefer", "disable"),
    "gsslib": ("gssapi",),
    "load_balance_hosts": ("disable",),
    "max_protocol_version": ("3.0", "latest"),
    "min_protocol_version": ("3.0",),
    "replication": ("false", "off", "no", "0"),
    "sslcertmode": ("allow",),
    "sslcompression": ("0", "1"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslsni": ("1",),
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
# All their supported values mean what the programs do anyway; not every version of libpq knows these parameters.
_DROPPED = frozenset(
    {
        "gssdelegation",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "replication",
        "sslcertmode",
        "sslcompression",
        "sslsni",
    }
)
# Whole numbers and their maximum, most of them seconds; `tcp_user_timeout` is in milliseconds. The kernel has no more.
_NUMBERS = {
    "connect_timeout": 86_400,
    "keepalives": 1,
    "keepalives_count": 127,
    "keepalives_idle": 32_767,
    "keepalives_interval": 32_767,
    "tcp_user_timeout": 2**31 - 1,
}
_UNSUPPORTED = {
    "hostaddr": "use host",
    "oauth_client_id": "use a password or a certificate",
    "oauth_client_secret": "use a password or a certificate",
    "oauth_issuer": "use a password or a certificate",
    "oauth_scope": "use a password or a certificate",
    "require_auth": _SECURE,
    "requirepeer": "use a directory that only the server's user can write to",
    "requiressl": "use sslmode=require",
    "scram_client_key": "use a password or a certificate",
    "scram_server_key": "use a password or a certificate",
    "ssl": "use sslmode",
    "sslcrldir": "use sslcrl",
    "sslkeylogfile": "it would disclose the connection's keys",
}
_ADVICE = {
    "channel_binding": ": the driver cannot require it, but sslmode=verify-full authenticates the server",
    "gssencmode": ": the driver cannot require it, but sslmode=verify-full encrypts",
}
_NUMBER = re.compile(r"-?[0-9]{1,9}")

# What asyncpg would send to the server as settings: it is without effect on the driver, or carried out by db/hosts.py.
NOT_FOR_THE_DRIVER = (_CHOICES.keys() | _NUMBERS.keys() | {"application_name", "fallback_application_name"}) - {
    "gsslib",
    "sslmode",
    "sslnegotiation",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
}


def is_known(name: str) -> bool:
    """Whether libpq has this parameter."""
    return name in _TEXTS or name in _CHOICES or name in _NUMBERS or name in _UNSUPPORTED


def checked(given: Mapping[str, str]) -> dict[str, str]:
    """The known parameters with supported values. Raises ValueError with the first name whose value is not."""
    found = dict(given)
    if found.get("ssl") == "true":  # JDBC's spelling, which libpq accepts
        del found["ssl"]
        found.setdefault("sslmode", "require")
    kept = {name: _supported(name, value) for name, value in found.items() if name not in _DROPPED}
    for name in found.keys() & _DROPPED:
        _supported(name, found[name])
    if kept.get("sslnegotiation") == "direct" and kept.get("sslmode") not in {"require", "verify-ca", "verify-full"}:
        raise ValueError("the parameter sslnegotiation=direct requires sslmode=require, verify-ca or verify-full")
    return kept


def _supported(name: str, value: str) -> str:
    """The value, in the driver's spelling."""
    if name in _UNSUPPORTED:
        raise ValueError(f"the parameter {name} is not supported: {_UNSUPPORTED[name]}")
    if name in _NUMBERS and not (_NUMBER.fullmatch(value) and int(value) <= _NUMBERS[name]):
        raise ValueError(f"the parameter {name} must be a whole number of at most {_NUMBERS[name]}")
    if name == "sslrootcert" and value == "system":
        raise ValueError("the parameter sslrootcert must be a file, such as /etc/ssl/certs/ca-certificates.crt")
    if name not in _CHOICES:
        return value
    spelled = {choice.lower(): choice for choice in _CHOICES[name]}
    if value.lower() not in spelled:
        raise ValueError(f"the parameter {name} must be {' or '.join(_CHOICES[name])}{_ADVICE.get(name, '')}")
    return spelled[value.lower()]
