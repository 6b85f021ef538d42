"""Joining organisations: by founding one, or by answering an invitation; and what a membership means for the account.

Each change locks the account first, so that of two at once one sees the other's result.
"""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor, ActorKind, Principal
from po_api.core.versions import ExpectedVersions
from po_api.db.database import enter_tenant
from po_api.db.listeners import ChangeWarning, Listeners
from po_api.members.domain import FOUNDERS_ROLES, InvitationStatus, Person
from po_api.members.errors import AlreadyInOrganisation, InvitationNotFound, InvitationRequired
from po_api.members.events import MembershipEnded, MembershipRestored
from po_api.members.invitation_service import InvitationService
from po_api.members.joining import add_member, join_by_invitation
from po_api.members.service import MemberService
from po_api.organisations.errors import AlreadyMember
from po_api.organisations.models import Organisation
from po_api.organisations.service import OrganisationService
from po_api.users.models import User
from po_api.users.repository import UserRepository


class MembershipService:
    """Changes where a user is; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, listeners: Listeners) -> None:
        self._session = session
        self._listeners = listeners
        self._repository = UserRepository(session)

    async def found_organisation(self, user_id: int, **values: object) -> Organisation:
        """Create an organisation with the user as its first member. Raises AlreadyMember if they belong to one."""
        user = await self._repository.locked(user_id)
        if user.organisation_id is not None:
            raise AlreadyMember
        organisation = await OrganisationService(self._session).create(**values)
        await enter_tenant(self._session, organisation.id)
        await add_member(self._session, organisation.id, _person(user), FOUNDERS_ROLES)
        _move(user, organisation.id)
        founder = Actor(organisation.id, user.id, frozenset(FOUNDERS_ROLES))
        after = {"name": organisation.name}
        change = audit.Change("organisation.create", "organisation", organisation.id, None, after, organisation.version)
        await audit.record(self._session, founder, change)
        return organisation

    async def accept(
        self, principal: Principal, invitation_id: int, *, leave: bool, expected: ExpectedVersions
    ) -> None:
        """Become a member by an invitation of the caller's address, with the rights that it names.

        With `leave`, a member of another organisation leaves that in the same transaction. Raises AlreadyMember
        otherwise, AlreadyInOrganisation, InvitationNotFound, InvitationNotOpen, or LastAdmin.
        """
        user = await self._repository.locked(principal.user_id)
        organisation_id = await self._organisation_of(user, invitation_id)
        if user.organisation_id == organisation_id:
            # Otherwise a member would change their own rights by leaving and coming back.
            raise AlreadyInOrganisation
        if user.organisation_id is not None:
            await self._leave(user, organisation_id, allowed=leave)
        await self._take_up(user, organisation_id, invitation_id, expected)

    async def decline(self, principal: Principal, invitation_id: int, *, expected: ExpectedVersions) -> None:
        """Decline an invitation of the caller's address. Raises InvitationNotFound or InvitationNotOpen."""
        user = await self._repository.locked(principal.user_id)
        organisation_id = await self._organisation_of(user, invitation_id)
        await enter_tenant(self._session, organisation_id)
        invitee = Actor(organisation_id, None, frozenset(), kind=ActorKind.INVITEE)
        service = InvitationService(self._session, invitee)
        await service.answer(invitation_id, InvitationStatus.DECLINED, expected=expected)
        if user.organisation_id is not None:
            await enter_tenant(self._session, user.organisation_id)

    async def take_up_only_invitation(self, user: User) -> None:
        """Accept the user's only open invitation, if they belong to no organisation.

        For addresses in a domain to which the installation restricts sign-in: they are given out by the organisation.
        """
        if user.organisation_id is not None:
            return
        user = await self._repository.locked(user.id)
        invitations = await self._repository.open_invitations(user.id)
        if user.organisation_id is None and len(invitations) == 1:
            (only,) = invitations
            await self._take_up(user, only.organisation_id, only.id, None)

    async def _organisation_of(self, user: User, invitation_id: int) -> int:
        """The organisation of an invitation of the user's address."""
        invitation = await self._repository.open_invitation(user.id, invitation_id)
        if invitation is None:
            raise InvitationNotFound
        return invitation.organisation_id

    async def _leave(self, user: User, for_organisation: int, *, allowed: bool) -> None:
        """Leave the present organisation for another one; the caller has locked the account."""
        present = user.organisation_id
        if not allowed or present is None:
            raise AlreadyMember("accepting means leaving the present organisation: repeat the request with leave: true")
        await self._repository.lock_organisations(sorted({present, for_organisation}))
        # The user may have moved since the credentials were checked.
        await enter_tenant(self._session, present)
        actor = Actor(present, user.id, frozenset())
        await MemberService(self._session, actor, self._listeners).leave(expected=None)

    async def _take_up(self, user: User, organisation_id: int, invitation_id: int, expected: ExpectedVersions) -> None:
        # A change of the base currency waits for its members, whom it has to see.
        await self._repository.lock_organisations([organisation_id])
        await enter_tenant(self._session, organisation_id)
        await join_by_invitation(self._session, organisation_id, invitation_id, _person(user), expected=expected)
        _move(user, organisation_id)
        await self._session.flush()


def _person(user: User) -> Person:
    return Person(user.id, user.email, user.name)


def _move(user: User, organisation_id: int) -> None:
    user.organisation_id, user.former_organisation_id = organisation_id, None
    user.version += 1


async def end_membership(session: AsyncSession, event: MembershipEnded) -> Iterable[ChangeWarning]:
    """Detach the account from the organisation that it is no longer a member of, unless it is in another one."""
    await UserRepository(session).detach(event.user_id, event.organisation_id, is_deactivated=event.is_deactivated)
    return ()


async def restore_membership(session: AsyncSession, event: MembershipRestored) -> Iterable[ChangeWarning]:
    """Attach the account to the organisation that has deactivated its member. Raises InvitationRequired if that is no
    longer the case: the person has joined another one since, and decides by themselves.

    The error is the same for a deactivated account: an admin learns nothing about the person.
    """
    user = await UserRepository(session).locked(event.user_id)
    if user.organisation_id == event.organisation_id:
        return ()
    if user.former_organisation_id != event.organisation_id or not user.is_active:
        raise InvitationRequired
    _move(user, event.organisation_id)
    await session.flush()
    return ()
