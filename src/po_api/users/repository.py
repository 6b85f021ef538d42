"""Locks and changes rows of users."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Principal
from po_api.db.query import TransactionExecutor
from po_api.organisations.models import Organisation
from po_api.users.models import User
from po_api.users.projections import MEMBER
from po_api.users.queries import OPEN_INVITATIONS, OpenInvitation


class ListedUser(NamedTuple):
    """An account, with its rights where it is."""

    id: int
    organisation_id: int | None
    is_active: bool
    roles: list[str] | None
    email: str
    name: str


class UserRepository:
    """The rows of users, who may be in any organisation or in none."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def by_email(self, email: str) -> User | None:
        """`email` in its canonical form."""
        return (await self._session.execute(select(User).where(User.email == email))).scalar_one_or_none()

    async def by_identity(self, issuer: str, subject: str) -> User | None:
        statement = select(User).where(User.identity_issuer == issuer, User.google_id == subject)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def ensure(self, email: str, name: str) -> None:
        """Create a user with this address unless there is one; of two concurrent requests, one waits for the other."""
        statement = insert(User).values(email=email, name=name)
        await self._session.execute(statement.on_conflict_do_nothing(index_elements=[User.email]))

    async def locked_by_email(self, email: str) -> User | None:
        """`email` in its canonical form; the user as committed, locked."""
        statement = (
            select(User)
            .where(User.email == email)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def get(self, user_id: int) -> User | None:
        return await self._session.get(User, user_id)

    async def locked(self, user_id: int) -> User:
        """An existing user, as committed, locked."""
        lock = {"key_share": True}
        return await self._session.get_one(User, user_id, with_for_update=lock, populate_existing=True)

    async def is_unchanged(self, principal: Principal) -> bool:
        """Whether the credentials are still valid, in the same organisation; locked until the transaction ends."""
        statement = select(User.id).where(
            User.id == principal.user_id,
            User.is_active,
            User.organisation_id.is_not_distinct_from(principal.organisation_id),
            User.credentials_version == principal.credentials_version,
        )
        return await self._session.scalar(statement.with_for_update(read=True)) is not None

    async def detach(self, user_id: int, organisation_id: int, *, is_deactivated: bool) -> None:
        """Let the user be in no organisation, if they are in this one.

        For a deactivated member, all credentials end, and the organisation may take the user back.
        """
        # An UPDATE of users in this organisation would not wait for a transaction by which the user joins it.
        user = await self.locked(user_id)
        if user.organisation_id == organisation_id:
            user.organisation_id, user.former_organisation_id = None, organisation_id if is_deactivated else None
            user.version += 1
            user.credentials_version += int(is_deactivated)
            await self._session.flush()

    async def lock_organisations(self, organisation_ids: Sequence[int]) -> None:
        """Lock organisations in the order of their ids."""
        statement = select(Organisation.id).where(Organisation.id.in_(organisation_ids)).order_by(Organisation.id)
        await self._session.execute(statement.with_for_update(key_share=True))

    async def open_invitations(self, user_id: int) -> Sequence[OpenInvitation]:
        """The open invitations of the user's address, of all organisations."""
        return await TransactionExecutor(self._session).rows(OPEN_INVITATIONS, user_id=user_id, invitation_id=None)

    async def open_invitation(self, user_id: int, invitation_id: int) -> OpenInvitation | None:
        """One of them."""
        executor = TransactionExecutor(self._session)
        return await executor.row(OPEN_INVITATIONS, user_id=user_id, invitation_id=invitation_id)

    async def all(self) -> Sequence[ListedUser]:
        """Every user of the installation, for the command line."""
        statement = (
            select(User.id, User.organisation_id, User.is_active, MEMBER.c.roles, User.email, User.name)
            .select_from(User.__table__.outerjoin(MEMBER, true()))
            .order_by(User.id)
        )
        return [ListedUser(*row) for row in await self._session.execute(statement)]
