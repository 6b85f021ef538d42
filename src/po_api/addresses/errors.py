"""Errors of addresses."""

from po_api.core.errors import Conflict, NotFound, Unprocessable


class AddressNotFound(NotFound):
    """The address does not exist, or does not belong to the caller's organisation."""

    code = "address_not_found"
    title = "Address not found"


class DefaultAddressTaken(Conflict):
    """The organisation has one active default address of each kind: first take the default from the other one."""

    code = "default_address_taken"
    title = "Another default address exists"
    constraint = "uq_addresses_default"


class UnknownAddress(Unprocessable):
    """The address does not exist, is deactivated, or is not one for deliveries."""

    code = "unknown_address"
    title = "Unknown delivery address"


class TwoAddresses(Unprocessable):
    """A request or an order is delivered to an address of the organisation (`delivery_address_id`) or to one in a text
    (`delivery_address`). To change from one to the other, set the former one to null."""

    code = "two_addresses"
    title = "Two delivery addresses"
