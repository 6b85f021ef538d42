"""Identities of users: at the identity provider, and by e-mail address."""

from dataclasses import dataclass

from po_api.core.text import canonical

MAX_EMAIL_LENGTH = 255


@dataclass(frozen=True)
class Identity:
    """A person as identified by a provider: by issuer and subject; `email` is verified and canonical."""

    issuer: str
    subject: str
    email: str
    name: str


def canonical_email(text: str) -> str:
    """The form in which two spellings of an address are equal. Raises ValueError for an invalid address.

    Deliverability is not checked.
    """
    # Imported here, since its DNS resolver is slow to import.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise ValueError("not an e-mail address") from None
    address = canonical(found.normalized)
    if len(address) > MAX_EMAIL_LENGTH:
        raise ValueError("an e-mail address that is too long")
    return address
