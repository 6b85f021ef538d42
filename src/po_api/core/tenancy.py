"""Who asks, and inside which organisation's walls."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Role(StrEnum):
    """What a member of an organisation may do. A member with no other role is a requester."""

    REQUESTER = "requester"
    APPROVER = "approver"
    BUYER = "buyer"
    ADMIN = "admin"
    AUDITOR = "auditor"


# Those who see everything in their organisation.
SEES_ALL = frozenset({Role.BUYER, Role.ADMIN, Role.AUDITOR})


@dataclass(frozen=True)
class Tenant:
    """A member acting inside one organisation; every repository of a tenant's data is built with one."""

    organisation_id: int
    user_id: int
    roles: frozenset[Role]
    approval_limit: Decimal | None = None

    def has(self, *roles: Role) -> bool:
        """Whether the member has at least one of `roles`."""
        return not self.roles.isdisjoint(roles)

    @property
    def sees_all(self) -> bool:
        return not self.roles.isdisjoint(SEES_ALL)
