"""Locks and changes rows of members and invitations."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.permissions import Role
from po_api.db.locks import lock_in_organisation
from po_api.db.query import ORGANISATION_ID, USER_ID, Query, TransactionExecutor, columns_for
from po_api.members.models import Invitation, InvitationAddress, Member


class MemberRights(NamedTuple):
    """A member's rights, as committed and locked."""

    roles: list[str]
    approval_limit: Decimal | None
    is_active: bool


_MEMBER_RIGHTS = Query(
    "members.rights",
    select(*columns_for(MemberRights, Member.__table__))
    .where(Member.organisation_id == ORGANISATION_ID, Member.user_id == USER_ID)
    .with_for_update(read=True),
    MemberRights,
)


_UNANSWERED = and_(Invitation.accepted_at.is_(None), Invitation.declined_at.is_(None), Invitation.revoked_at.is_(None))


class MemberRepository:
    """The rows of an organisation's members."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._organisation_id = organisation_id

    async def get(self, user_id: int) -> Member | None:
        """As committed, not locked."""
        return await self._session.get(Member, (self._organisation_id, user_id), populate_existing=True)

    async def locked(self, user_id: int) -> Member | None:
        lock = {"key_share": True}
        key = (self._organisation_id, user_id)
        return await self._session.get(Member, key, with_for_update=lock, populate_existing=True)

    async def locked_with_admins(self, user_id: int) -> Sequence[Member]:
        """The member and all active admins, locked in the order of their ids.

        Without the locks, two admins who demote each other at once would both find the other one remaining. Rows are
        locked FOR NO KEY UPDATE everywhere: a plain FOR UPDATE also conflicts with inserts that refer to the row (an
        audit event's actor), and deadlocks with them.
        """
        is_admin = Member.roles.contains([Role.ADMIN]) & Member.is_active
        statement = (
            select(Member)
            .where(self._is_own(), or_(Member.user_id == user_id, is_admin))
            .order_by(Member.user_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalars().all()

    async def lock_managers(self) -> None:
        """Let changes of managers happen one after the other."""
        await lock_in_organisation(self._session, "managers", self._organisation_id)

    async def managers(self) -> dict[int, int]:
        """The managers of the organisation's members, by the ids of both."""
        statement = select(Member.user_id, Member.manager_id).where(self._is_own(), Member.manager_id.is_not(None))
        rows = await self._session.execute(statement)
        return {user_id: manager_id for user_id, manager_id in rows if manager_id is not None}

    async def count_reports(self, user_id: int) -> int:
        """The number of active members whose manager this one is."""
        reports = and_(self._is_own(), Member.manager_id == user_id, Member.is_active)
        return await self._session.scalar(select(func.count()).where(reports)) or 0

    async def lock_all(self) -> None:
        """Lock all members, also against rows that refer to them; waits for those of transactions in progress."""
        await self._session.execute(
            select(Member.user_id).where(self._is_own()).order_by(Member.user_id).with_for_update()
        )

    async def rights(self, user_id: int) -> MemberRights | None:
        """The committed rights of a member, locked against changes until the transaction ends."""
        executor = TransactionExecutor(self._session)
        return await executor.row(_MEMBER_RIGHTS, organisation_id=self._organisation_id, user_id=user_id)

    async def lock_active(self, user_ids: Collection[int]) -> set[int]:
        """Those of the members who are active, locked against changes in the order of their ids."""
        statement = (
            select(Member.user_id)
            .where(self._is_own(), Member.user_id.in_(sorted(user_ids)), Member.is_active)
            .order_by(Member.user_id)
            .with_for_update(read=True)
        )
        return set(await self._session.scalars(statement))

    async def lock_for_invitation(self, inviter_id: int, email: str) -> Member | None:
        """The member who invites, as committed. They and the members with this address are locked against changes.

        In one statement, in the order of their ids, as `locked_with_admins` does.
        """
        statement = (
            select(Member)
            .where(self._is_own(), or_(Member.user_id == inviter_id, Member.email == email))
            .order_by(Member.user_id)
            .with_for_update(read=True)
            .execution_options(populate_existing=True)
        )
        members = (await self._session.execute(statement)).scalars().all()
        return next((member for member in members if member.user_id == inviter_id), None)

    async def count_limits(self) -> int:
        """The number of members with an approval limit, without those who have left."""
        limited = and_(self._is_own(), Member.approval_limit.is_not(None), Member.left_at.is_(None))
        return await self._session.scalar(select(func.count()).where(limited)) or 0

    async def has_other_active(self, user_id: int) -> bool:
        """Whether there is an active member besides this one."""
        others = select(Member.user_id).where(self._is_own(), Member.user_id != user_id, Member.is_active)
        return await self._session.scalar(others.limit(1)) is not None

    async def is_active_address(self, email: str) -> bool:
        """Whether an active member has this canonical address."""
        found = select(Member.user_id).where(self._is_own(), Member.email == email, Member.is_active)
        return await self._session.scalar(found.limit(1)) is not None

    def _is_own(self) -> ColumnElement[bool]:
        return Member.organisation_id == self._organisation_id


class InvitationRepository:
    """The rows of an organisation's invitations."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._organisation_id = organisation_id

    async def add(self, invitation: Invitation, digest: str) -> None:
        self._session.add(invitation)
        await self._session.flush()
        address = InvitationAddress(organisation_id=self._organisation_id, invitation_id=invitation.id, digest=digest)
        self._session.add(address)

    async def locked(self, invitation_id: int) -> Invitation | None:
        lock = {"key_share": True}
        key = (self._organisation_id, invitation_id)
        return await self._session.get(Invitation, key, with_for_update=lock, populate_existing=True)

    async def locked_unanswered(self, email: str) -> Invitation | None:
        """The invitation of this canonical address that was neither answered nor revoked, locked."""
        statement = (
            select(Invitation)
            .where(
                Invitation.organisation_id == self._organisation_id,
                Invitation.email == email,
                _UNANSWERED,
            )
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def locked_unanswered_by(self, inviter_id: int) -> Sequence[Invitation]:
        """The invitations that this member has sent and that were neither answered nor revoked, locked."""
        statement = (
            select(Invitation)
            .where(
                Invitation.organisation_id == self._organisation_id, Invitation.invited_by_id == inviter_id, _UNANSWERED
            )
            .order_by(Invitation.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalars().all()

    async def count_limits(self, now: datetime) -> int:
        """The number of open invitations with an approval limit."""
        limited = select(func.count()).where(
            Invitation.organisation_id == self._organisation_id,
            Invitation.approval_limit.is_not(None),
            Invitation.expires_at > now,
            _UNANSWERED,
        )
        return await self._session.scalar(limited) or 0

    async def close(self, invitation: Invitation, column: str, now: datetime) -> None:
        """Store the answer or the revocation: `column` is the one of its time."""
        setattr(invitation, column, now)
        invitation.version += 1
        address = delete(InvitationAddress).where(
            InvitationAddress.organisation_id == self._organisation_id,
            InvitationAddress.invitation_id == invitation.id,
        )
        await self._session.execute(address)
        await self._session.flush()
