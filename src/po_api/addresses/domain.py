"""The kinds of addresses, and how one is printed."""

from collections.abc import Mapping
from enum import StrEnum

from po_api.core.parties import ADDRESS_FIELDS, address_lines


class AddressKind(StrEnum):
    """What an address is for."""

    DELIVERY = "delivery"
    BILLING = "billing"


# What orders copy of an address when they are issued.
COPIED_FIELDS = (*ADDRESS_FIELDS, "name", "lines", "contact", "phone")


def printed_address(address: Mapping[str, str | None]) -> str:
    """An address, by COPIED_FIELDS, as printed: the text if there is no structured address.

    With a `country_name`, that is printed instead of the country's code.
    """
    lines = address_lines(address) or [address["lines"] or ""]
    contact = ", ".join(part for part in (address["contact"], address["phone"]) if part)
    return "\n".join(line for line in (address["name"], *lines, contact) if line)
