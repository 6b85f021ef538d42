"""Sessions without an identity provider: for developers, and for the first administrator."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.db.database import enter_tenant
from po_api.sessions.service import SessionService
from po_api.users.service import UserService

DEVELOPER_SESSION_SECONDS = 8 * 3600


async def open_session(session: AsyncSession, *, email: str, key: str, lifetime: timedelta) -> str:
    """An access token for a user. Raises UserNotFound."""
    user = await UserService(session).by_email(email)
    if user.organisation_id is not None:
        await enter_tenant(session, user.organisation_id)
    return await SessionService(session, key=key).open(user, lifetime=lifetime)
