"""Identities of users at the identity provider."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """A person as identified by a provider: by issuer and subject; `email` is verified and canonical."""

    issuer: str
    subject: str
    email: str
    name: str
