"""What members choose: rows that are locked and changed."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.members.models import Member
from po_api.notifications.domain import NotificationKind, Preference
from po_api.notifications.models import NotificationPreference


class PreferenceRepository:
    """The preferences of the actor."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._key = {"organisation_id": actor.organisation_id, "user_id": actor.member_id}

    async def lock(self) -> None:
        """Let changes of the member's preferences wait for one another: kinds without a choice have no row to lock."""
        statement = select(Member.user_id).filter_by(**self._key).with_for_update(key_share=True)
        await self._session.execute(statement)

    async def choose(self, kind: NotificationKind, chosen: Preference) -> None:
        values = {"in_app": chosen.in_app, "email": chosen.email}
        added = insert(NotificationPreference).values(**self._key, kind=kind, **values, version=1)
        statement = added.on_conflict_do_update(
            index_elements=["organisation_id", "user_id", "kind"],
            set_={
                "in_app": added.excluded.in_app,
                "email": added.excluded.email,
                "version": NotificationPreference.version + 1,
            },
        )
        await self._session.execute(statement)
