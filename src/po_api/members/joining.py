"""Becoming a member: as the founder, by an operator, or by accepting an invitation."""

from collections.abc import Collection
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.core.versions import ExpectedVersions
from po_api.members.domain import InvitationStatus, Person
from po_api.members.invitation_service import InvitationService
from po_api.members.models import Member
from po_api.members.repository import MemberRepository


async def add_member(
    session: AsyncSession,
    organisation_id: int,
    person: Person,
    roles: Collection[Role],
    *,
    approval_limit: Decimal | None = None,
) -> Member:
    """A new member of an organisation, whose tenant has been entered. Flushes; the caller records the event."""
    member = Member(
        organisation_id=organisation_id,
        user_id=person.user_id,
        email=person.email,
        name=person.name,
        roles=sorted(set(roles)),
        approval_limit=approval_limit,
        joined_at=utc_now(),
    )
    session.add(member)
    await session.flush()
    return member


async def join_by_invitation(
    session: AsyncSession, organisation_id: int, invitation_id: int, person: Person, *, expected: ExpectedVersions
) -> None:
    """Accept an invitation: the person becomes a member with its rights; a former member's row is used again.

    The tenant has been entered, and the invitation is known to be of the person's address. Raises InvitationNotOpen.
    """
    member = await MemberRepository(session, organisation_id).locked(person.user_id)
    if member is None:
        # Before the invitation is answered: the audit event of the answer refers to the member.
        member = await add_member(session, organisation_id, person, [Role.REQUESTER])
    actor = Actor(organisation_id, person.user_id, frozenset())
    service = InvitationService(session, actor)
    invitation = await service.answer(invitation_id, InvitationStatus.ACCEPTED, expected=expected)
    member.email, member.name = person.email, person.name
    member.roles, member.approval_limit = invitation.roles, invitation.approval_limit
    member.is_active, member.left_at, member.joined_at = True, None, utc_now()
    member.version += 1
    after = {"roles": member.roles, "approval_limit": member.approval_limit}
    change = audit.Change("user.join", "user", person.user_id, None, after, member.version)
    await audit.record(session, actor, change)
