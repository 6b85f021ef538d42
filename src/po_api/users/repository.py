"""Locks and changes rows of users."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.permissions import Role
from po_api.db.query import ORGANISATION_ID, USER_ID, Query, TransactionExecutor, columns_for
from po_api.users.models import User


class MemberRights(NamedTuple):
    """A member's rights, as committed and locked."""

    roles: list[str]
    approval_limit: Decimal | None
    is_active: bool


_MEMBER_RIGHTS = Query(
    "users.member_rights",
    select(*columns_for(MemberRights, User.__table__))
    .where(User.organisation_id == ORGANISATION_ID, User.id == USER_ID)
    .with_for_update(read=True),
    MemberRights,
)


class UserRepository:
    """The rows of users. The table is global: each statement about members names the organisation."""

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

    async def member(self, organisation_id: int, user_id: int) -> User | None:
        statement = select(User).where(User.organisation_id == organisation_id, User.id == user_id)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def locked_with_admins(self, organisation_id: int, user_id: int) -> Sequence[User]:
        """The member and all active admins, locked in the order of their ids.

        Without the locks, two admins who demote each other at once would both find the other one remaining. Rows are
        locked FOR NO KEY UPDATE everywhere: a plain FOR UPDATE also conflicts with inserts that refer to the row (an
        audit event's actor or organisation), and deadlocks with them.
        """
        is_admin = User.roles.contains([Role.ADMIN]) & User.is_active
        statement = (
            select(User)
            .where(User.organisation_id == organisation_id, or_(User.id == user_id, is_admin))
            .order_by(User.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalars().all()

    async def member_rights(self, organisation_id: int, user_id: int) -> MemberRights | None:
        """The committed rights of a member, locked against changes until the transaction ends."""
        executor = TransactionExecutor(self._session)
        return await executor.row(_MEMBER_RIGHTS, organisation_id=organisation_id, user_id=user_id)

    async def all(self) -> Sequence[User]:
        """Every user of the installation, for the command line."""
        return (await self._session.execute(select(User).order_by(User.id))).scalars().all()
