"""The format of a key: `po_<id>_<secret><checksum>`, which a double click selects as a whole.

The prefix is for secret scanners; by the checksum, a mistyped key is refused without a query.
"""

import hashlib
import re
import secrets
import string
import zlib
from datetime import timedelta

from po_api.core.actor import Principal
from po_api.core.permissions import Permission, may

_PREFIX = "po_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 43  # of 62 letters and digits: 256 bits
_CHECKSUM_LENGTH = 6  # of them, too: 32 bits
_SHAPE = re.compile(
    rf"po_([1-9]\d{{0,18}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})", re.ASCII
)

MAX_LIFETIME_DAYS = 366
DEFAULT_LIFETIME_DAYS = 90
MAX_OVERLAP = timedelta(days=7)
DEFAULT_OVERLAP = timedelta(days=1)


def is_api_key(token: str) -> bool:
    """Whether a bearer token has the prefix of keys, which access tokens do not have."""
    return token.startswith(_PREFIX)


def prefix_of(key_id: int) -> str:
    """The beginning of a key, by which its owner recognises it."""
    return f"{_PREFIX}{key_id}_"


def new_key(key_id: int) -> str:
    """A new key with 256 random bits."""
    unsigned = prefix_of(key_id) + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return unsigned + _checksum(unsigned)


def id_of(key: str) -> int | None:
    """The id in a key; None if it has another format or a wrong checksum."""
    match = _SHAPE.fullmatch(key)
    if match is None or _checksum(key[:-_CHECKSUM_LENGTH]) != match[3] or int(match[1]) >= 2**63:
        return None
    return int(match[1])


def digest(key: str) -> str:
    """The digest that is stored instead of a key: SHA-256 (hex). With 256 random bits, a slow hash adds nothing."""
    return hashlib.sha256(key.encode()).hexdigest()


def administered(principal: Principal) -> int | None:
    """The organisation whose keys the user administers; None if they administer only their own."""
    return principal.organisation_id if may(principal.roles, Permission.API_KEYS_ALL) else None


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
