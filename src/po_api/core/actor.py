"""Who asks, and inside which organisation's walls."""

from dataclasses import dataclass
from decimal import Decimal

from po_api.core.errors import Forbidden
from po_api.core.permissions import SEES_ALL, Role, Scope


@dataclass(frozen=True)
class Actor:
    """A member acting inside one organisation; every repository of a tenant's data is built with one.

    `user_id` 0 is the command line, which acts for no member. `scopes` is None unless the member acts by an API key.
    """

    organisation_id: int
    user_id: int
    roles: frozenset[Role]
    approval_limit: Decimal | None = None
    scopes: frozenset[Scope] | None = None

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
            raise MissingRole(f"requires one of the roles {', '.join(sorted(roles))}")

    def in_scope(self, scope: Scope) -> bool:
        """Whether the way in which the member signed in may be used for this."""
        return self.scopes is None or scope in self.scopes

    @property
    def sees_all(self) -> bool:
        return not self.roles.isdisjoint(SEES_ALL)


@dataclass(frozen=True)
class Principal:
    """The signed-in user, by a session or by an API key; `organisation_id` is None until they join one.

    `scopes` are those of the key. With a session it is None, and `session_id` is set.
    """

    user_id: int
    session_id: int | None
    organisation_id: int | None
    roles: frozenset[Role]
    approval_limit: Decimal | None
    is_operator: bool
    scopes: frozenset[Scope] | None = None

    def require(self, scope: Scope | None) -> None:
        """Raise MissingScope or KeyNotAccepted if a key was sent that may not be used for this; None takes no keys."""
        if self.scopes is None:
            return
        if scope is None:
            raise KeyNotAccepted
        if scope not in self.scopes:
            raise MissingScope(f"requires an API key with the scope {scope}")

    def actor(self) -> Actor:
        """The member inside their organisation; NoOrganisation for those who have none."""
        if self.organisation_id is None:
            raise NoOrganisation
        return Actor(self.organisation_id, self.user_id, self.roles, self.approval_limit, self.scopes)


class NoOrganisation(Forbidden):
    """The caller belongs to no organisation: create one, or ask an administrator for an invitation."""

    code = "no_organisation"
    title = "No organisation"


class MissingRole(Forbidden):
    """None of the caller's roles allows this operation."""

    code = "missing_role"
    title = "Missing role"


class MissingScope(Forbidden):
    """The API key lacks the scope that this operation requires: create a key with that scope, or sign in."""

    code = "missing_scope"
    title = "Missing scope"


class KeyNotAccepted(Forbidden):
    """This endpoint does not accept API keys."""

    code = "key_not_accepted"
    title = "API key not accepted"
