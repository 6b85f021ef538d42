"""E-mail addresses, in the form in which two spellings of one are equal."""

import unicodedata

from po_api.core.domains import u_label
from po_api.core.text import normalise

MAX_EMAIL_LENGTH = 255


def canonical_email(text: str) -> str:
    """An address in the form in which two spellings of it are equal (`comparable_email`).

    Raises ValueError for an invalid address. Deliverability is not checked.
    """
    # Imported here, since its DNS resolver is slow to import.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise ValueError("not an e-mail address") from None
    address = comparable_email(found.normalized)
    if len(address) > MAX_EMAIL_LENGTH:
        raise ValueError("an e-mail address that is too long")
    return address


def comparable_email(text: str) -> str:
    """The form in which two spellings of a valid address are equal; another text, which no user has, is normalised.

    Domains are equal if their A-labels are (IDNA 2008, UTS 46 without transitional processing); the form has the
    U-label, of which there is one for each A-label. Local parts are in lower case, and not casefolded: strauß@ and
    strauss@ are two persons. All is in NFC.
    """
    address = normalise(text)
    local, at, domain = address.rpartition("@")
    try:
        # Characters in lower case may be decomposed.
        return unicodedata.normalize("NFC", local.lower()) + at + u_label(domain)
    except ValueError:
        return address
