"""Who acts: the signed-in user of a request, and the actor inside an organisation that the audit trail names."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Self

from po_api.core.errors import Forbidden
from po_api.core.permissions import GRANTS, Permission, Role, Scope, may


class ActorKind(StrEnum):
    """The kinds of actors. Members and API keys act with a member's rights, and the audit trail names the member."""

    MEMBER = "member"
    API_KEY = "api_key"
    COMMAND_LINE = "command_line"
    SYSTEM = "system"
    INVITEE = "invitee"
    SUPPLIER = "supplier"


@dataclass(frozen=True)
class Actor:
    """Who acts inside one organisation, and with which rights; every access to a tenant's data has an actor.

    `user_id` is set exactly for members and API keys, `scopes` for API keys.
    """

    organisation_id: int
    user_id: int | None
    roles: frozenset[Role]
    approval_limit: Decimal | None = None
    scopes: frozenset[Scope] | None = None
    kind: ActorKind = ActorKind.MEMBER

    @classmethod
    def command_line(cls, organisation_id: int) -> Self:
        """An operator at the command line, with an administrator's rights."""
        return cls(organisation_id, None, frozenset({Role.ADMIN}), kind=ActorKind.COMMAND_LINE)

    @classmethod
    def system(cls, organisation_id: int) -> Self:
        """The application itself, with an administrator's rights."""
        return cls(organisation_id, None, frozenset({Role.ADMIN}), kind=ActorKind.SYSTEM)

    @property
    def member_id(self) -> int:
        """The user id of the member. Raises NotAMember for other kinds of actors."""
        if self.user_id is None:
            raise NotAMember
        return self.user_id

    def may(self, permission: Permission) -> bool:
        """Whether one of the actor's roles has the permission."""
        return may(self.roles, permission)

    def require(self, permission: Permission) -> None:
        """Raise MissingRole unless one of the actor's roles has the permission."""
        if not self.may(permission):
            raise MissingRole(f"requires one of the roles {', '.join(sorted(GRANTS[permission].roles))}")

    def covers(self, permission: Permission) -> bool:
        """Whether the actor has the permission, and the credentials cover it."""
        return self.may(permission) and self.in_scope(permission)

    def in_scope(self, permission: Permission) -> bool:
        """Whether the credentials cover the permission: a session covers all, an API key those of its scopes."""
        return self.scopes is None or GRANTS[permission].scope in self.scopes


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
    credentials_version: int = 0
    scopes: frozenset[Scope] | None = None

    def require_scope(self, permission: Permission) -> None:
        """Raise MissingScope or KeyNotAccepted if the credentials are an API key that does not cover the permission."""
        if self.scopes is None:
            return
        scope = GRANTS[permission].scope
        if scope is None:
            raise KeyNotAccepted
        if scope not in self.scopes:
            raise MissingScope(f"requires an API key with the scope {scope}")

    def actor(self) -> Actor:
        """The user as an actor of their organisation. Raises NoOrganisation if they have none."""
        if self.organisation_id is None:
            raise NoOrganisation
        kind = ActorKind.MEMBER if self.scopes is None else ActorKind.API_KEY
        return Actor(self.organisation_id, self.user_id, self.roles, self.approval_limit, self.scopes, kind)


class NotAMember(Forbidden):
    """Only a member of the organisation, or an API key of a member, may perform this operation."""

    code = "not_a_member"
    title = "Members only"


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
