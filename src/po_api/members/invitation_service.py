"""Invitations: sent and revoked by admins. Answering one is about the account, in users/membership_service.py."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor, MissingRole
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission, Role
from po_api.core.versions import ExpectedVersions, require_version
from po_api.members.domain import (
    INVITATION_LIFETIME,
    InvitationStatus,
    address_digest,
    require_grantable_limit,
    require_grantable_roles,
    status_of,
)
from po_api.members.errors import AlreadyInOrganisation, InvitationNotFound, InvitationNotOpen
from po_api.members.models import Invitation
from po_api.members.repository import InvitationRepository, MemberRepository


class InvitationService:
    """Invites to the actor's organisation (admins); it flushes, the caller commits.

    It never reads or changes accounts, so that an answer tells nothing about the person.
    """

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._invitations = InvitationRepository(session, actor.organisation_id)
        self._members = MemberRepository(session, actor.organisation_id)

    async def invite(
        self, *, email: str, roles: Sequence[Role], approval_limit: Decimal | None
    ) -> tuple[Invitation, str]:
        """Invite the person with this canonical address; an earlier invitation of the address is revoked.

        Returns the invitation, and the name of the member who sent it.

        Raises AlreadyInOrganisation for the address of an active member, KeyCannotGrant, and MissingRole if the actor
        is no active admin any more.
        """
        self._actor.require(Permission.USERS_MANAGE)
        require_grantable_roles(self._actor, roles)
        if approval_limit is not None:
            require_grantable_limit(self._actor, approval_limit, before=Decimal(0))
        inviter = await self._members.lock_for_invitation(self._actor.member_id, email)
        if inviter is None or not inviter.is_active_admin:
            # Since the credentials were checked: who has left could invite themselves with other rights.
            raise MissingRole
        await self.withdraw(email)
        # After both locks, for which an acceptance may have been waited for.
        if await self._members.is_active_address(email):
            raise AlreadyInOrganisation
        invitation = Invitation(
            organisation_id=self._actor.organisation_id,
            email=email,
            roles=sorted(roles),
            approval_limit=approval_limit,
            invited_by_id=self._actor.member_id,
            expires_at=utc_now() + INVITATION_LIFETIME,
        )
        await self._invitations.add(invitation, address_digest(email))
        after = {"email": email, "roles": invitation.roles, "approval_limit": approval_limit}
        await self._record("invitation.create", invitation, after)
        return invitation, inviter.name

    async def withdraw(self, email: str) -> None:
        """Revoke the unanswered invitation of a canonical address, if there is one."""
        earlier = await self._invitations.locked_unanswered(email)
        if earlier is not None:
            await self._close(earlier, InvitationStatus.REVOKED)

    async def withdraw_all_of(self, inviter_id: int) -> None:
        """Revoke the unanswered invitations of a member who is no admin any more: they grant what only admins may."""
        for invitation in await self._invitations.locked_unanswered_by(inviter_id):
            await self._close(invitation, InvitationStatus.REVOKED)

    async def revoke(self, invitation_id: int, *, expected: ExpectedVersions) -> tuple[Invitation, str]:
        """Revoke an open invitation (admins). Returns the same. Raises InvitationNotFound or InvitationNotOpen."""
        self._actor.require(Permission.USERS_MANAGE)
        return await self._with_inviter(await self._end(invitation_id, InvitationStatus.REVOKED, expected))

    async def answer(
        self, invitation_id: int, answer: InvitationStatus, *, expected: ExpectedVersions = None
    ) -> Invitation:
        """Accept or decline an open invitation; the actor is the invited person. Raises as `revoke` does."""
        return await self._end(invitation_id, answer, expected)

    async def _end(self, invitation_id: int, status: InvitationStatus, expected: ExpectedVersions) -> Invitation:
        invitation = await self._invitations.locked(invitation_id)
        if invitation is None:
            raise InvitationNotFound
        require_version(invitation.version, expected)
        if status_of(invitation, utc_now()) is not InvitationStatus.OPEN:
            raise InvitationNotOpen
        await self._close(invitation, status)
        return invitation

    async def _close(self, invitation: Invitation, status: InvitationStatus) -> None:
        await self._invitations.close(invitation, f"{status}_at", utc_now())
        await self._record(f"invitation.{_ACTIONS[status]}", invitation, {"status": status})

    async def _with_inviter(self, invitation: Invitation) -> tuple[Invitation, str]:
        inviter = await self._members.get(invitation.invited_by_id)
        assert inviter is not None
        return invitation, inviter.name

    async def _record(self, action: str, invitation: Invitation, after: Mapping[str, object]) -> None:
        change = audit.Change(action, "invitation", invitation.id, None, after, invitation.version)
        await audit.record(self._session, self._actor, change)


_ACTIONS = {
    InvitationStatus.ACCEPTED: "accept",
    InvitationStatus.DECLINED: "decline",
    InvitationStatus.REVOKED: "revoke",
}
