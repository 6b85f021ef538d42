"""Who asks, and inside which organisation's walls."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from po_api.core.errors import Forbidden


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
    """A member acting inside one organisation; every repository of a tenant's data is built with one.

    `user_id` 0 is the command line, which acts for no member.
    """

    organisation_id: int
    user_id: int
    roles: frozenset[Role]
    approval_limit: Decimal | None = None

    @property
    def actor_id(self) -> int | None:
        """Whom the audit trail names."""
        return self.user_id or None

    def has(self, *roles: Role) -> bool:
        """Whether the member has at least one of `roles`."""
        return not self.roles.isdisjoint(roles)

    def require(self, *roles: Role) -> None:
        """Raise MissingRole unless the member has at least one of `roles`."""
        if not self.has(*roles):
            raise MissingRole(f"this takes one of the roles {', '.join(sorted(roles))}")

    @property
    def sees_all(self) -> bool:
        return not self.roles.isdisjoint(SEES_ALL)


@dataclass(frozen=True)
class Principal:
    """The signed-in user; `organisation_id` is None until they join one."""

    user_id: int
    session_id: int
    organisation_id: int | None
    roles: frozenset[Role]
    approval_limit: Decimal | None
    is_operator: bool

    def tenant(self) -> Tenant:
        """The member inside their organisation; NoOrganisation for those who have none."""
        if self.organisation_id is None:
            raise NoOrganisation
        return Tenant(self.organisation_id, self.user_id, self.roles, self.approval_limit)


class NoOrganisation(Forbidden):
    """You belong to no organisation yet: create one, or ask an administrator to invite you."""

    code = "no_organisation"
    title = "You belong to no organisation yet"


class MissingRole(Forbidden):
    """None of your roles allows this."""

    code = "missing_role"
    title = "None of your roles allows this"
