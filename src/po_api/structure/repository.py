"""Locks and changes rows of the organisation's structure."""

from collections.abc import Collection
from typing import Generic, TypeVar

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.hierarchy import Parents
from po_api.db.locks import lock_in_organisation
from po_api.structure.models import ApprovalGroupMember, CostCentre, Entry, Node, Team

E = TypeVar("E", bound=Entry)


class EntryRepository(Generic[E]):
    """The rows of one kind of entries of an organisation."""

    def __init__(self, session: AsyncSession, organisation_id: int, entity: type[E]) -> None:
        self._session = session
        self._organisation_id = organisation_id
        self._entity = entity

    async def locked(self, entry_id: int) -> E | None:
        key = (self._organisation_id, entry_id)
        lock = {"key_share": True}
        return await self._session.get(self._entity, key, with_for_update=lock, populate_existing=True)


class HierarchyRepository:
    """The hierarchy of one kind of entries of an organisation."""

    def __init__(self, session: AsyncSession, organisation_id: int, entity: type[Node]) -> None:
        self._session = session
        self._organisation_id = organisation_id
        self._entity = entity

    async def lock(self) -> None:
        """Let changes of the hierarchy happen one after the other."""
        await lock_in_organisation(self._session, "hierarchy", self._organisation_id)

    async def parents(self) -> Parents:
        """The parents of all entries."""
        entity = self._entity
        found = select(entity.id, entity.parent_id).where(entity.organisation_id == self._organisation_id)
        return {row.id: row.parent_id for row in await self._session.execute(found)}

    async def is_active(self, entry_id: int) -> bool:
        entity = self._entity
        found = select(entity.is_active).where(entity.organisation_id == self._organisation_id, entity.id == entry_id)
        return bool(await self._session.scalar(found))

    async def has_active_children(self, entry_id: int) -> bool:
        entity = self._entity
        found = select(entity.id).where(
            entity.organisation_id == self._organisation_id, entity.parent_id == entry_id, entity.is_active
        )
        return await self._session.scalar(found.limit(1)) is not None


class GroupRepository:
    """The members of an organisation's approval groups."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._organisation_id = organisation_id
        self._own = ApprovalGroupMember.organisation_id == organisation_id

    async def of(self, group_id: int) -> list[int]:
        """The user ids of a group's members, sorted."""
        found = select(ApprovalGroupMember.user_id).where(self._own, ApprovalGroupMember.group_id == group_id)
        return sorted(await self._session.scalars(found))

    async def add(self, group_id: int, user_ids: Collection[int]) -> None:
        self._session.add_all(
            ApprovalGroupMember(organisation_id=self._organisation_id, group_id=group_id, user_id=user_id)
            for user_id in sorted(user_ids)
        )
        await self._session.flush()

    async def remove(self, group_id: int, user_ids: Collection[int]) -> None:
        await self._session.execute(
            delete(ApprovalGroupMember).where(
                self._own, ApprovalGroupMember.group_id == group_id, ApprovalGroupMember.user_id.in_(sorted(user_ids))
            )
        )

    async def remove_from_all(self, user_id: int) -> None:
        await self._session.execute(
            delete(ApprovalGroupMember).where(self._own, ApprovalGroupMember.user_id == user_id)
        )


class VacancyRepository:
    """What a member is responsible for in an organisation."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._organisation_id = organisation_id

    async def count_owned(self, user_id: int) -> int:
        """The number of active cost centres of this owner."""
        return await self._count(CostCentre, CostCentre.owner_id == user_id)

    async def count_led(self, user_id: int) -> int:
        """The number of active teams with this lead."""
        return await self._count(Team, Team.lead_id == user_id)

    async def _count(self, entity: type[Entry], *conditions: object) -> int:
        own = (entity.organisation_id == self._organisation_id, entity.is_active, *conditions)
        return await self._session.scalar(select(func.count()).select_from(entity).where(*own)) or 0  # type: ignore[arg-type]
