"""Members: inviting them, and changing their rights."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission, Role
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.listeners import ChangeWarning, Listeners
from po_api.users.domain import comparable_email
from po_api.users.errors import LastAdmin, UserNotFound
from po_api.users.events import CredentialsRevoked, MemberChanged
from po_api.users.models import User
from po_api.users.repository import UserRepository
from po_api.users.service import UserService


class MemberService:
    """Changes the members of the actor's organisation; it flushes, the caller commits.

    `listeners` are those of the features above: they revoke credentials and return warnings.
    """

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._session = session
        self._actor = actor
        self._listeners = listeners
        self._repository = UserRepository(session)

    async def invite(self, *, email: str, name: str, roles: Sequence[Role], approval_limit: Decimal | None) -> User:
        """Invite a member (admins).

        A user who has signed in before the invitation and belongs to no organisation joins at once and keeps their
        name.
        """
        self._actor.require(Permission.USERS_MANAGE)
        organisation_id = self._actor.organisation_id
        user = await self._repository.locked_by_email(comparable_email(email))
        if user is None or user.organisation_id is not None or user.is_operator or not user.is_active:
            return await UserService(self._session).create(
                email=email,
                name=name,
                organisation_id=organisation_id,
                roles=roles,
                approval_limit=approval_limit,
                actor=self._actor,
            )
        user.organisation_id = organisation_id
        user.roles = sorted(roles)
        user.approval_limit = approval_limit
        user.version += 1
        after = {"roles": user.roles, "approval_limit": user.approval_limit}
        audit.record(self._session, self._actor, audit.Change("user.join", "user", user.id, None, after))
        await self._session.flush()
        return user

    async def update(
        self, user_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]
    ) -> tuple[User, list[ChangeWarning]]:
        """Change a member: admins may change all fields, every member their own name."""
        if user_id != self._actor.user_id or set(values) - {"name"}:
            self._actor.require(Permission.USERS_MANAGE)
        return await self._change(user_id, "user.update", values, expected)

    async def set_active(
        self, user_id: int, *, active: bool, expected: ExpectedVersions
    ) -> tuple[User, list[ChangeWarning]]:
        """Deactivate or reactivate a member (admins). A deactivated member's sessions and keys end at once."""
        self._actor.require(Permission.USERS_MANAGE)
        action = "user.activate" if active else "user.deactivate"
        return await self._change(user_id, action, {"is_active": active}, expected)

    async def _change(
        self, user_id: int, action: str, values: Mapping[str, object], expected: ExpectedVersions
    ) -> tuple[User, list[ChangeWarning]]:
        if await self._repository.member(self._actor.organisation_id, user_id) is None:
            raise UserNotFound
        if values.get("is_active") is False:
            await self._listeners.notify(self._session, CredentialsRevoked(user_id, utc_now()))
        users = await self._repository.locked_with_admins(self._actor.organisation_id, user_id)
        user = next(candidate for candidate in users if candidate.id == user_id)
        require_version(user.version, expected)
        was_admin = _is_admin(user)
        before, after = merge_patch.apply(user, values)
        # An organisation that was created at the command line may have no admin: its members can be changed anyway.
        if was_admin and not any(_is_admin(candidate) for candidate in users):
            raise LastAdmin
        if not after:
            return user, []
        user.version += 1
        audit.record(self._session, self._actor, audit.Change(action, "user", user.id, before, after))
        await self._session.flush()
        return user, await self._listeners.notify(self._session, MemberChanged(self._actor, user_id))


def _is_admin(user: User) -> bool:
    return user.is_active and Role.ADMIN in user.roles
