"""Identities of users: at the identity provider, and by e-mail address."""

from dataclasses import dataclass

from po_api.core.text import canonical

MAX_EMAIL_LENGTH = 255


@dataclass(frozen=True)
class Identity:
    """A person as an identity provider vouches for: known by issuer and subject; `email` is verified and canonical."""

    issuer: str
    subject: str
    email: str
    name: str


def canonical_email(text: str) -> str:
    """The form in which two spellings of an address are equal; ValueError for what is no address.

    Whether it can be delivered to, the sign-in shows.
    """
    # With the resolver that it brings, it takes longer to import than an address to look up.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise ValueError("not an e-mail address") from None
    address = canonical(found.normalized)
    if len(address) > MAX_EMAIL_LENGTH:
        raise ValueError("an e-mail address that is too long")
    return address
