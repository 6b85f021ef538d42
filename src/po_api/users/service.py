"""Users: who belongs to an organisation, and what they may do there."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor, Principal
from po_api.core.clock import utc_now
from po_api.core.permissions import Role, Scope
from po_api.core.text import canonical
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.database import enter_tenant, tenant_setting
from po_api.organisations.errors import AlreadyMember
from po_api.organisations.models import Organisation
from po_api.organisations.service import OrganisationService
from po_api.users.domain import Identity
from po_api.users.errors import IdentityMismatch, LastAdmin, UserDeactivated, UserNotFound
from po_api.users.models import User
from po_api.users.repository import UserRepository


@dataclass(frozen=True)
class Leftover:
    """What an accepted change leaves to be looked after; `porfs` are (id, number)."""

    code: str
    detail: str
    porfs: Sequence[tuple[int, str]]


# What a check of somebody's credentials selects of their user: who they are. It opens the tenant's rows as well.
WHO = (
    User.id.label("user_id"),
    User.organisation_id,
    User.roles,
    User.approval_limit,
    User.is_operator,
    tenant_setting(User.organisation_id),
)


def user_name(user_id: Any) -> ColumnElement[str]:
    """The name of the user whom a column of the outer query names; None for none.

    No join: PostgreSQL may answer that by hashing all users, for a page of fifty.
    """
    return select(User.name).where(User.id == user_id).correlate(user_id.table).scalar_subquery()


@cache
def _roles(*names: str) -> frozenset[Role]:
    return frozenset(map(Role, names))


def principal_of(row: Any, *, session_id: int | None = None, scopes: frozenset[Scope] | None = None) -> Principal:
    """The user that a row with the columns of `WHO` shows, signed in by a session or by a key with `scopes`."""
    return Principal(
        user_id=row.user_id,
        session_id=session_id,
        organisation_id=row.organisation_id,
        roles=_roles(*row.roles),
        approval_limit=row.approval_limit,
        is_operator=row.is_operator,
        scopes=scopes,
    )


# What a member's loss of rights leaves behind is known to the features above; create_app and the command line
# plug their questions in here.
LeftBehind = Callable[[AsyncSession, Actor], Awaitable[Leftover | None]]


class UserService:
    """What can be done with users; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, left_behind: Sequence[LeftBehind] = ()) -> None:
        self._session = session
        self._repository = UserRepository(session)
        self._left_behind = left_behind

    async def get(self, user_id: int) -> User:
        """Any user, by id; UserNotFound."""
        user = await self._repository.get(user_id)
        if user is None:
            raise UserNotFound
        return user

    async def by_email(self, email: str) -> User:
        """Any user, by e-mail address in any spelling; UserNotFound."""
        user = await self._repository.by_email(canonical(email))
        if user is None:
            raise UserNotFound
        return user

    async def all(self) -> Sequence[User]:
        return await self._repository.all()

    async def member(self, actor: Actor, user_id: int) -> User:
        """A member of the caller's organisation; UserNotFound."""
        user = await self._repository.member(actor.organisation_id, user_id)
        if user is None:
            raise UserNotFound
        return user

    async def current_member(self, actor: Actor, user_id: int) -> Any:
        """A member's columns as committed now, protected from change until the transaction ends; or None."""
        return await self._repository.current_member(actor.organisation_id, user_id)

    async def create(
        self,
        *,
        email: str,
        name: str,
        organisation_id: int | None,
        roles: Sequence[Role] = (Role.REQUESTER,),
        approval_limit: Decimal | None = None,
        is_operator: bool = False,
        actor_id: int | None = None,
    ) -> User:
        """A new user, who may sign in with this address; the database refuses one that is taken (EmailTaken)."""
        user = User(
            email=canonical(email),
            name=name,
            organisation_id=organisation_id,
            roles=sorted(set(roles)),
            approval_limit=approval_limit,
            is_operator=is_operator,
        )
        self._session.add(user)
        await self._session.flush()
        if organisation_id is not None:
            after = {"roles": user.roles, "approval_limit": approval_limit}
            self._record(organisation_id, actor_id, audit.Change("user.create", "user", user.id, None, after))
            await self._session.flush()
        return user

    async def invite(self, actor: Actor, *, email: str, **values: Any) -> User:
        """A new member of the caller's organisation (admins).

        Who has signed in before being invited, and belongs nowhere yet, joins at once and keeps their name.
        """
        actor.require(Role.ADMIN)
        user = await self._repository.locked_by_email(canonical(email))
        if user is None or user.organisation_id is not None or user.is_operator or not user.is_active:
            return await self.create(
                email=email, organisation_id=actor.organisation_id, actor_id=actor.user_id, **values
            )
        user.organisation_id = actor.organisation_id
        user.roles = sorted(values["roles"])
        user.approval_limit = values["approval_limit"]
        user.version += 1
        after = {"roles": user.roles, "approval_limit": user.approval_limit}
        self._record(actor.organisation_id, actor.user_id, audit.Change("user.join", "user", user.id, None, after))
        await self._session.flush()
        return user

    async def identified(self, identity: Identity) -> User:
        """The user whom an identity provider vouches for: known by issuer and subject, or invited by address, or new.

        The address only joins an invitation to its first sign-in. IdentityMismatch if the user with the address has
        signed in otherwise before; UserDeactivated.
        """
        user = await self._repository.by_identity(identity.issuer, identity.subject)
        if user is None:
            user = await self._joined(identity)
        if not user.is_active:
            raise UserDeactivated
        return user

    async def _joined(self, identity: Identity) -> User:
        await self._repository.ensure(identity.email, identity.name)
        user = await self._repository.locked_by_email(identity.email)
        assert user is not None
        if user.google_id is None:
            user.identity_issuer, user.google_id = identity.issuer, identity.subject
            user.version += 1
            if user.organisation_id is not None:
                await enter_tenant(self._session, user.organisation_id)
                self._record(user.organisation_id, user.id, audit.Change("user.identify", "user", user.id))
            await self._session.flush()
        elif (user.identity_issuer, user.google_id) != (identity.issuer, identity.subject):
            raise IdentityMismatch
        return user

    async def found_organisation(self, principal: Principal, **values: Any) -> Organisation:
        """A new organisation, whose admin the caller becomes; AlreadyMember if they belong to one."""
        lock = {"key_share": True}
        user = await self._session.get(User, principal.user_id, with_for_update=lock, populate_existing=True)
        assert user is not None
        if user.organisation_id is not None:
            raise AlreadyMember
        organisation = await OrganisationService(self._session).create(**values)
        user.organisation_id = organisation.id
        user.roles = sorted({*user.roles, Role.ADMIN})
        user.version += 1
        await self._session.flush()
        await enter_tenant(self._session, organisation.id)
        after = {"name": organisation.name}
        change = audit.Change("organisation.create", "organisation", organisation.id, None, after)
        self._record(organisation.id, user.id, change)
        await self._session.flush()
        return organisation

    async def update(
        self, actor: Actor, user_id: int, *, expected: ExpectedVersions, values: Mapping[str, Any]
    ) -> tuple[User, list[Leftover]]:
        """Change a member: admins anything, everyone their own name. Returns what the change leaves behind, too."""
        if user_id != actor.user_id or set(values) - {"name"}:
            actor.require(Role.ADMIN)
        return await self._change(actor, user_id, "user.update", values, expected)

    async def set_active(
        self, actor: Actor, user_id: int, *, active: bool, expected: ExpectedVersions
    ) -> tuple[User, list[Leftover]]:
        """Deactivate a member, or take them back (admins). A deactivated user's sessions answer 401 at once."""
        actor.require(Role.ADMIN)
        action = "user.activate" if active else "user.deactivate"
        return await self._change(actor, user_id, action, {"is_active": active}, expected)

    async def signed_in(self, user: User) -> None:
        user.last_login = utc_now()
        await self._session.flush()

    async def _change(
        self, actor: Actor, user_id: int, action: str, values: Mapping[str, Any], expected: ExpectedVersions
    ) -> tuple[User, list[Leftover]]:
        await self.member(actor, user_id)
        if values.get("is_active") is False:
            # Before the user's row is locked: requests lock their session's row first, too.
            await self._repository.revoke_credentials(user_id, utc_now())
        users = await self._repository.locked_with_admins(actor.organisation_id, user_id)
        user = next(candidate for candidate in users if candidate.id == user_id)
        require_version(user.version, expected)
        was_admin = _is_admin(user)
        before, after = merge_patch.apply(user, values)
        # An organisation that the command line made may have no admin yet: that hinders nobody.
        if was_admin and not any(_is_admin(candidate) for candidate in users):
            raise LastAdmin
        if not after:
            return user, []
        user.version += 1
        self._record(actor.organisation_id, actor.actor_id, audit.Change(action, "user", user.id, before, after))
        await self._session.flush()
        warnings = [await question(self._session, actor) for question in self._left_behind]
        return user, [warning for warning in warnings if warning is not None]

    def _record(self, organisation_id: int, actor_id: int | None, change: audit.Change) -> None:
        audit.record(self._session, organisation_id=organisation_id, actor_id=actor_id, change=change)


def _is_admin(user: User) -> bool:
    return user.is_active and Role.ADMIN in user.roles
