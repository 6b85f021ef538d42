"""Roles of members, and scopes of API keys."""

from enum import StrEnum


class Role(StrEnum):
    """A role of a member. A member without another role is a requester."""

    REQUESTER = "requester"
    APPROVER = "approver"
    BUYER = "buyer"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Scope(StrEnum):
    """The operations that an API key may be used for, within its user's roles.

    `write` does not include `read`: its responses contain only what was changed or copied.
    """

    PORFS_READ = "porfs:read"
    PORFS_WRITE = "porfs:write"
    PORFS_APPROVE = "porfs:approve"
    PURCHASE_ORDERS_READ = "purchase_orders:read"
    PURCHASE_ORDERS_WRITE = "purchase_orders:write"
    SUPPLIERS_READ = "suppliers:read"
    SUPPLIERS_WRITE = "suppliers:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ORGANISATIONS_READ = "organisations:read"
    ORGANISATIONS_WRITE = "organisations:write"


# Those who see everything in their organisation.
SEES_ALL = frozenset({Role.BUYER, Role.ADMIN, Role.AUDITOR})
