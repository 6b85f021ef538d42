"""The users' rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.permissions import Role
from po_api.db.query import ORGANISATION_ID, USER_ID, Query, TransactionExecutor
from po_api.users.models import User

_CURRENT_MEMBER = Query(
    "users.current_member",
    select(User.__table__)
    .where(
        User.organisation_id == ORGANISATION_ID,
        User.id == USER_ID,
    )
    .with_for_update(read=True),
)


class UserRepository:
    """Named questions about users. The table is global: each question about members names the organisation."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def by_email(self, email: str) -> User | None:
        """`email` in its canonical form."""
        return (await self._session.execute(select(User).where(User.email == email))).scalar_one_or_none()

    async def by_identity(self, issuer: str, subject: str) -> User | None:
        statement = select(User).where(User.identity_issuer == issuer, User.google_id == subject)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def ensure(self, email: str, name: str) -> None:
        """A user with this address; of two requests that find none, one makes it and the other waits for that."""
        statement = insert(User).values(email=email, name=name)
        await self._session.execute(statement.on_conflict_do_nothing(index_elements=[User.email]))

    async def locked_by_email(self, email: str) -> User | None:
        """`email` in its canonical form; the user as committed now."""
        statement = (
            select(User)
            .where(User.email == email)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def get(self, user_id: int) -> User | None:
        return await self._session.get(User, user_id)

    async def member(self, organisation_id: int, user_id: int) -> User | None:
        statement = select(User).where(User.organisation_id == organisation_id, User.id == user_id)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def locked_with_admins(self, organisation_id: int, user_id: int) -> Sequence[User]:
        """The member and all active admins, locked in the order of their ids.

        Two admins who demote each other at once would otherwise both find that the other one remains. Rows are locked
        FOR NO KEY UPDATE everywhere: a plain FOR UPDATE also waits for whoever refers to the row, an audit event's
        actor or organisation, and deadlocks with them.
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

    async def current_member(self, organisation_id: int, user_id: int) -> Any:
        """The member's columns as committed now, protected from change until the transaction ends."""
        return await TransactionExecutor(self._session).row(
            _CURRENT_MEMBER, organisation_id=organisation_id, user_id=user_id
        )

    async def revoke_credentials(self, user_id: int, now: datetime) -> None:
        """End the user's sessions and keys for good: taken back one day, they sign in anew."""
        for credentials in (User.sessions, User.api_keys):
            # The entity by way of the relationship: those features stand above this one.
            entity = credentials.property.mapper.class_
            statement = update(entity).where(entity.user_id == user_id, entity.revoked_at.is_(None))
            await self._session.execute(statement.values(revoked_at=now).execution_options(synchronize_session=False))

    async def all(self) -> Sequence[User]:
        """Every user of the installation, for the command line."""
        return (await self._session.execute(select(User).order_by(User.id))).scalars().all()
