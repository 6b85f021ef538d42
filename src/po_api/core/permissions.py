"""Who may do what: roles of members, scopes of API keys, and one table of permissions.

The grant of a permission lists the roles that have it and the scope that an API key needs. Every route has a permission
(web/routing.py); services and guards check permissions, too. Conditions on data, such as the owner of a request, are in
the domain of the feature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
    AUDIT_READ = "audit:read"
    EVENTS_READ = "events:read"
    EXTERNAL_REFERENCES_READ = "external_references:read"
    EXTERNAL_REFERENCES_WRITE = "external_references:write"
    DELIVERIES_WRITE = "deliveries:write"
    APPROVAL_POLICIES_WRITE = "approval_policies:write"


class Permission(StrEnum):
    """What an operation requires. `_ALL` extends a permission from the member's own data to the organisation's."""

    PUBLIC = "public"
    SESSIONS = "sessions"
    API_KEYS = "api_keys"
    API_KEYS_ALL = "api_keys_all"

    MEMBERSHIP = "membership"
    USERS_READ = "users_read"
    USERS_READ_RIGHTS = "users_read_rights"
    USERS_WRITE = "users_write"
    USERS_MANAGE = "users_manage"

    ORGANISATIONS_READ = "organisations_read"
    ORGANISATIONS_FOUND = "organisations_found"
    ORGANISATIONS_WRITE = "organisations_write"

    AUDIT_READ = "audit_read"
    EVENTS_READ = "events_read"

    ADDRESSES_READ = "addresses_read"
    ADDRESSES_WRITE = "addresses_write"

    STRUCTURE_READ = "structure_read"
    STRUCTURE_WRITE = "structure_write"

    APPROVAL_POLICIES_READ = "approval_policies_read"
    APPROVAL_POLICIES_WRITE = "approval_policies_write"

    EXCHANGE_RATES_READ = "exchange_rates_read"
    EXCHANGE_RATES_WRITE = "exchange_rates_write"

    EXTERNAL_REFERENCES_READ = "external_references_read"
    EXTERNAL_REFERENCES_WRITE = "external_references_write"

    DELEGATIONS_READ = "delegations_read"
    DELEGATIONS_READ_ALL = "delegations_read_all"
    DELEGATIONS_WRITE = "delegations_write"
    DELEGATIONS_WRITE_ALL = "delegations_write_all"

    WEBHOOKS = "webhooks"

    SUPPLIERS_READ = "suppliers_read"
    SUPPLIERS_WRITE = "suppliers_write"

    PORFS_READ = "porfs_read"
    PORFS_READ_SUBMITTED = "porfs_read_submitted"
    PORFS_READ_ALL = "porfs_read_all"
    PORFS_WRITE = "porfs_write"
    PORFS_WRITE_ALL = "porfs_write_all"
    PORFS_COMMENT = "porfs_comment"
    PORFS_ADD_APPROVERS = "porfs_add_approvers"
    PORFS_DECIDE = "porfs_decide"
    PORFS_MANAGE = "porfs_manage"

    PURCHASE_ORDERS_READ = "purchase_orders_read"
    PURCHASE_ORDERS_READ_ALL = "purchase_orders_read_all"
    PURCHASE_ORDERS_WRITE = "purchase_orders_write"
    PURCHASE_ORDERS_COMMENT = "purchase_orders_comment"

    DELIVERIES_READ = "deliveries_read"
    DELIVERIES_WRITE = "deliveries_write"

    NOTIFICATIONS = "notifications"

    FILINGS_READ = "filings_read"
    FILINGS_MANAGE = "filings_manage"


@dataclass(frozen=True)
class Grant:
    """The roles that have a permission, and the scope that an API key needs; None accepts no keys."""

    roles: frozenset[Role]
    scope: Scope | None = None


_ANY_ROLE = frozenset(Role)
_ADMIN = frozenset({Role.ADMIN})
_APPROVER = frozenset({Role.APPROVER})
_BUYERS = frozenset({Role.BUYER, Role.ADMIN})
# Approvers and auditors may not raise requests, unless they have one of these roles, too.
_RAISERS = frozenset({Role.REQUESTER, Role.BUYER, Role.ADMIN})
_OVERSIGHT = frozenset({Role.BUYER, Role.ADMIN, Role.AUDITOR})

GRANTS: Mapping[Permission, Grant] = {
    # Without signing in.
    Permission.PUBLIC: Grant(_ANY_ROLE),
    Permission.SESSIONS: Grant(_ANY_ROLE),
    Permission.API_KEYS: Grant(_ANY_ROLE),
    Permission.API_KEYS_ALL: Grant(_ADMIN),
    # Answering invitations, and leaving: only the person may do so.
    Permission.MEMBERSHIP: Grant(_ANY_ROLE),
    Permission.USERS_READ: Grant(_ANY_ROLE, Scope.USERS_READ),
    Permission.USERS_READ_RIGHTS: Grant(frozenset({Role.ADMIN, Role.AUDITOR}), Scope.USERS_READ),
    Permission.USERS_WRITE: Grant(_ANY_ROLE, Scope.USERS_WRITE),
    Permission.USERS_MANAGE: Grant(_ADMIN, Scope.USERS_WRITE),
    Permission.ORGANISATIONS_READ: Grant(_ANY_ROLE, Scope.ORGANISATIONS_READ),
    Permission.ORGANISATIONS_FOUND: Grant(_ANY_ROLE, Scope.ORGANISATIONS_WRITE),
    Permission.ORGANISATIONS_WRITE: Grant(_ADMIN, Scope.ORGANISATIONS_WRITE),
    # The events of all entities, with values that representations hide from other roles.
    Permission.AUDIT_READ: Grant(frozenset({Role.ADMIN, Role.AUDITOR}), Scope.AUDIT_READ),
    Permission.EVENTS_READ: Grant(frozenset({Role.ADMIN, Role.AUDITOR}), Scope.EVENTS_READ),
    Permission.ADDRESSES_READ: Grant(_ANY_ROLE, Scope.ORGANISATIONS_READ),
    Permission.ADDRESSES_WRITE: Grant(_BUYERS, Scope.ORGANISATIONS_WRITE),
    # Cost centres, categories, teams, approval groups: requests name them, and who approves follows from them.
    Permission.STRUCTURE_READ: Grant(_ANY_ROLE, Scope.ORGANISATIONS_READ),
    Permission.STRUCTURE_WRITE: Grant(_ADMIN, Scope.ORGANISATIONS_WRITE),
    Permission.APPROVAL_POLICIES_READ: Grant(frozenset({Role.ADMIN, Role.AUDITOR}), Scope.ORGANISATIONS_READ),
    Permission.APPROVAL_POLICIES_WRITE: Grant(_ADMIN, Scope.APPROVAL_POLICIES_WRITE),
    Permission.EXCHANGE_RATES_READ: Grant(_ANY_ROLE, Scope.ORGANISATIONS_READ),
    # Approval limits depend on them.
    Permission.EXCHANGE_RATES_WRITE: Grant(_ADMIN, Scope.ORGANISATIONS_WRITE),
    # Those who see all requests and orders: a reference names an entity.
    Permission.EXTERNAL_REFERENCES_READ: Grant(_OVERSIGHT, Scope.EXTERNAL_REFERENCES_READ),
    Permission.EXTERNAL_REFERENCES_WRITE: Grant(_BUYERS, Scope.EXTERNAL_REFERENCES_WRITE),
    # Webhooks send data to other systems. Their secret is shown to the admin who adds an endpoint.
    Permission.DELEGATIONS_READ: Grant(_ANY_ROLE),
    Permission.DELEGATIONS_READ_ALL: Grant(_ADMIN | {Role.AUDITOR}),
    Permission.DELEGATIONS_WRITE: Grant(_APPROVER | _ADMIN),
    Permission.DELEGATIONS_WRITE_ALL: Grant(_ADMIN),
    Permission.WEBHOOKS: Grant(_ADMIN),
    Permission.SUPPLIERS_READ: Grant(_ANY_ROLE, Scope.SUPPLIERS_READ),
    Permission.SUPPLIERS_WRITE: Grant(_BUYERS, Scope.SUPPLIERS_WRITE),
    Permission.PORFS_READ: Grant(_ANY_ROLE, Scope.PORFS_READ),
    Permission.PORFS_READ_SUBMITTED: Grant(_APPROVER, Scope.PORFS_READ),
    Permission.PORFS_READ_ALL: Grant(_OVERSIGHT, Scope.PORFS_READ),
    Permission.PORFS_WRITE: Grant(_RAISERS, Scope.PORFS_WRITE),
    Permission.PORFS_WRITE_ALL: Grant(_ADMIN, Scope.PORFS_WRITE),
    Permission.PORFS_COMMENT: Grant(_RAISERS | _APPROVER, Scope.PORFS_WRITE),
    Permission.PORFS_ADD_APPROVERS: Grant(_RAISERS | _APPROVER, Scope.PORFS_WRITE),
    Permission.PORFS_DECIDE: Grant(_APPROVER, Scope.PORFS_APPROVE),
    Permission.PORFS_MANAGE: Grant(_BUYERS, Scope.PORFS_WRITE),
    Permission.PURCHASE_ORDERS_READ: Grant(_ANY_ROLE, Scope.PURCHASE_ORDERS_READ),
    Permission.PURCHASE_ORDERS_READ_ALL: Grant(_OVERSIGHT | _APPROVER, Scope.PURCHASE_ORDERS_READ),
    Permission.PURCHASE_ORDERS_WRITE: Grant(_BUYERS, Scope.PURCHASE_ORDERS_WRITE),
    Permission.PURCHASE_ORDERS_COMMENT: Grant(_RAISERS | _APPROVER, Scope.PURCHASE_ORDERS_WRITE),
    # Mails have the amounts of whole orders, and addresses of people.
    Permission.DELIVERIES_READ: Grant(_OVERSIGHT, Scope.PURCHASE_ORDERS_READ),
    Permission.DELIVERIES_WRITE: Grant(_BUYERS, Scope.DELIVERIES_WRITE),
    # They are for people: what a script has read, nobody has.
    Permission.NOTIFICATIONS: Grant(_ANY_ROLE),
    Permission.FILINGS_READ: Grant(_OVERSIGHT, Scope.PURCHASE_ORDERS_READ),
    Permission.FILINGS_MANAGE: Grant(_ADMIN, Scope.ORGANISATIONS_WRITE),
}


def may(roles: frozenset[Role], permission: Permission) -> bool:
    """Whether a member with these roles has the permission."""
    return not roles.isdisjoint(GRANTS[permission].roles)
