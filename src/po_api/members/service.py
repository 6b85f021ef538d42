"""Members: changing their rights, deactivating, leaving."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor, MissingRole
from po_api.core.clock import utc_now
from po_api.core.hierarchy import path_to_root
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.listeners import ChangeWarning, Listeners
from po_api.members.domain import require_grantable_limit, require_grantable_roles
from po_api.members.errors import (
    InvitationRequired,
    LastAdmin,
    ManagerCycle,
    OwnRights,
    UnknownManager,
    UserNotFound,
)
from po_api.members.events import MemberChanged, MemberPlaced, MembershipEnded, MembershipRestored
from po_api.members.invitation_service import InvitationService
from po_api.members.models import Member
from po_api.members.repository import InvitationRepository, MemberRepository, MemberRights
from po_api.organisations.events import BaseCurrencyChanging

# Who approves what a member requests follows from the manager and the team, too.
_RIGHTS = frozenset({"roles", "approval_limit", "manager_id", "team_id"})
_OWN = frozenset({"name", "default_cost_centre_id"})


async def rights_of(session: AsyncSession, actor: Actor, user_id: int) -> MemberRights | None:
    """The committed rights of a member, locked against changes until the transaction ends; None for no member."""
    return await MemberRepository(session, actor.organisation_id).rights(user_id)


async def lock_active_members(session: AsyncSession, actor: Actor, user_ids: Collection[int]) -> set[int]:
    """Those of the members who are active, locked against changes until the transaction ends."""
    return await MemberRepository(session, actor.organisation_id).lock_active(user_ids)


async def has_left(session: AsyncSession, actor: Actor, user_id: int) -> bool:
    """Whether the member has left the organisation."""
    member = await MemberRepository(session, actor.organisation_id).get(user_id)
    return member is not None and member.left_at is not None


async def is_active_member(session: AsyncSession, actor: Actor, user_id: int) -> bool:
    """Whether the user is an active member of the organisation."""
    member = await MemberRepository(session, actor.organisation_id).get(user_id)
    return member is not None and member.is_active


class MemberService:
    """Changes the members of the actor's organisation; it flushes, the caller commits.

    `listeners` are those of the features above: they end credentials and return warnings.
    """

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._session = session
        self._actor = actor
        self._listeners = listeners
        self._repository = MemberRepository(session, actor.organisation_id)

    async def update(
        self, user_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]
    ) -> tuple[Member, list[ChangeWarning]]:
        """Change a member: admins may change all fields but their own rights, every member their own name and default
        cost centre.

        Raises UnknownManager, ManagerCycle, UnknownTeam or UnknownCostCentre.
        """
        as_admin = user_id != self._actor.user_id or bool(set(values) - _OWN)
        if as_admin:
            self._actor.require(Permission.USERS_MANAGE)
        if values.get("manager_id") is not None:
            # Before any member is locked: so no two of these wait for each other.
            await self._repository.lock_managers()
        return await self._change(user_id, "user.update", values, expected, as_admin=as_admin)

    async def deactivate(self, user_id: int, *, expected: ExpectedVersions) -> tuple[Member, list[ChangeWarning]]:
        """Deactivate a member (admins). Their sessions and keys end at once; the user may be invited elsewhere."""
        self._actor.require(Permission.USERS_MANAGE)
        await self._existing(user_id)
        # Whether they are active is not known before their account is locked; without effect if they are not.
        await self._end(user_id, is_deactivated=True)
        return await self._change(user_id, "user.deactivate", {"is_active": False}, expected)

    async def activate(self, user_id: int, *, expected: ExpectedVersions) -> tuple[Member, list[ChangeWarning]]:
        """Reactivate a deactivated member (admins). Raises InvitationRequired for one who has left, or is elsewhere."""
        self._actor.require(Permission.USERS_MANAGE)
        await self._existing(user_id)
        await self._listeners.notify(self._session, MembershipRestored(self._actor.organisation_id, user_id))
        # Read again: leaving and being deactivated lock the account, too.
        member = await self._existing(user_id)
        if member.left_at is not None:
            raise InvitationRequired
        require_grantable_roles(self._actor, member.roles)
        changed = await self._change(user_id, "user.activate", {"is_active": True}, expected)
        # It could be accepted at any time, and give back what the member has lost meanwhile.
        await InvitationService(self._session, self._actor).withdraw(member.email)
        return changed

    async def leave(self, *, expected: ExpectedVersions) -> Member:
        """End the actor's own membership. Documents, decisions and history keep the member. Raises LastAdmin."""
        user_id = self._actor.member_id
        await self._end(user_id, is_deactivated=False)
        values = {"is_active": False, "left_at": utc_now()}
        member, _ = await self._change(user_id, "user.leave", values, expected, as_admin=False)
        return member

    async def _end(self, user_id: int, *, is_deactivated: bool) -> None:
        ended = MembershipEnded(self._actor.organisation_id, user_id, utc_now(), is_deactivated)
        await self._listeners.notify(self._session, ended)

    async def _existing(self, user_id: int) -> Member:
        member = await self._repository.get(user_id)
        if member is None:
            raise UserNotFound
        return member

    async def _change(
        self,
        user_id: int,
        action: str,
        values: Mapping[str, object],
        expected: ExpectedVersions,
        *,
        as_admin: bool = True,
    ) -> tuple[Member, list[ChangeWarning]]:
        members = await self._repository.locked_with_admins(user_id)
        if as_admin:
            self._require_still_admin(members)
        member = next((candidate for candidate in members if candidate.user_id == user_id), None)
        if member is None:
            raise UserNotFound
        require_version(member.version, expected)
        was_admin = member.is_active_admin
        earlier = MemberRights(member.roles, member.approval_limit, member.is_active)
        before, after = merge_patch.apply(member, values)
        if not after:
            return member, []
        if _RIGHTS & after.keys():
            await self._require_grantable(member, earlier)
        await self._require_place(member, after)
        # An organisation that was created at the command line may have no admin: its members can be changed anyway.
        if was_admin and not any(candidate.is_active_admin for candidate in members):
            raise LastAdmin
        member.version += 1
        change = audit.Change(action, "user", user_id, before, after, member.version)
        await audit.record(self._session, self._actor, change)
        if was_admin and not member.is_active_admin:
            await InvitationService(self._session, self._actor).withdraw_all_of(user_id)
        return member, await self._listeners.notify(self._session, MemberChanged(self._actor, user_id))

    async def _require_place(self, member: Member, changed: Mapping[str, object]) -> None:
        """Raise unless the manager, the team and the default cost centre, as far as they changed, can be theirs."""
        if "manager_id" in changed and member.manager_id is not None:
            await self._require_manager(member.user_id, member.manager_id)
        places = {"team_id", "default_cost_centre_id"}
        if places & changed.keys():
            placed = {name: getattr(member, name) if name in changed else None for name in places}
            await self._listeners.notify(self._session, MemberPlaced(self._actor, **placed))

    async def _require_manager(self, user_id: int, manager_id: int) -> None:
        if manager_id == user_id:
            raise ManagerCycle
        manager = await self._repository.get(manager_id)
        if manager is None or not manager.is_active:
            raise UnknownManager.at("/manager_id")
        if user_id in path_to_root(await self._repository.managers(), manager_id):
            raise ManagerCycle

    def _require_still_admin(self, locked: Sequence[Member]) -> None:
        """Raise MissingRole if the actor, a member, has been demoted or has left since the credentials were checked."""
        user_id = self._actor.user_id
        if user_id is not None and not any(item.user_id == user_id and item.is_active_admin for item in locked):
            raise MissingRole

    async def _require_grantable(self, member: Member, earlier: MemberRights) -> None:
        """Raise OwnRights or KeyCannotGrant if the actor may not give the member the rights that they now have."""
        if member.user_id == self._actor.user_id and await self._repository.has_other_active(member.user_id):
            raise OwnRights
        require_grantable_roles(self._actor, member.roles, before=earlier.roles)
        require_grantable_limit(self._actor, member.approval_limit, before=earlier.approval_limit)


async def warn_of_reports(session: AsyncSession, event: MemberChanged) -> list[ChangeWarning]:
    """A warning about the active members whose manager is no active member any more, if there are any."""
    repository = MemberRepository(session, event.actor.organisation_id)
    member = await repository.get(event.user_id)
    if member is None or member.is_active:
        return []
    count = await repository.count_reports(event.user_id)
    return [ChangeWarning("inactive_manager", f"active members with this manager: {count}")] if count else []


async def exclude_documents(session: AsyncSession, event: BaseCurrencyChanging) -> list[ChangeWarning]:
    """Wait for the members who are creating requests or setting limits; from now on, they wait for the change."""
    await MemberRepository(session, event.actor.organisation_id).lock_all()
    return []


async def find_limits(session: AsyncSession, event: BaseCurrencyChanging) -> list[ChangeWarning]:
    """Warnings about the approval limits of members and of open invitations, which are in the base currency."""
    organisation_id = event.actor.organisation_id
    found = {
        "approval limits of members": await MemberRepository(session, organisation_id).count_limits(),
        "approval limits of open invitations": await InvitationRepository(session, organisation_id).count_limits(
            utc_now()
        ),
    }
    return [ChangeWarning("approval_limits", f"{what}: {count}") for what, count in found.items() if count]
