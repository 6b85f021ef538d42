"""The structure of an organisation: create, update, deactivate."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeGuard

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.errors import MAX_LISTED_ERRORS, NotFound, Unprocessable
from po_api.core.permissions import Permission
from po_api.core.text import name_key
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.listeners import ChangeWarning
from po_api.db.query import TransactionExecutor
from po_api.members.events import MemberChanged, MemberPlaced
from po_api.members.service import has_left, is_active_member, lock_active_members
from po_api.structure import errors
from po_api.structure.domain import Classified, given_ids, require_place
from po_api.structure.models import ApprovalGroup, Category, CostCentre, Entry, Node, Team
from po_api.structure.queries import StructureQueries
from po_api.structure.repository import E, EntryRepository, GroupRepository, HierarchyRepository, VacancyRepository


@dataclass(frozen=True)
class Kind(Generic[E]):
    """A kind of entries: `key` is the attribute that is unique in the form of core/text.name_key, `person` the one that
    refers to a member, `unknown` the error for a parent that cannot be one."""

    name: audit.AuditedEntity
    entity: type[E]
    key: str
    not_found: type[NotFound]
    unknown: type[Unprocessable] = Unprocessable
    person: str | None = None


COST_CENTRE = Kind(
    "cost_centre", CostCentre, "code", errors.CostCentreNotFound, errors.UnknownCostCentre, person="owner_id"
)
CATEGORY = Kind("category", Category, "code", errors.CategoryNotFound, errors.UnknownCategory)
TEAM = Kind("team", Team, "name", errors.TeamNotFound, errors.UnknownTeam, person="lead_id")
APPROVAL_GROUP = Kind("approval_group", ApprovalGroup, "name", errors.ApprovalGroupNotFound)


class EntryService(Generic[E]):
    """Creates and changes entries of one kind (admins); it flushes, the caller commits.

    The hierarchy is locked first, then the entry, then the member that it names. A key that another active entry has
    violates a constraint (CostCentreCodeTaken …).
    """

    def __init__(self, session: AsyncSession, actor: Actor, kind: Kind[E]) -> None:
        self._session = session
        self._actor = actor
        self._kind = kind
        self._repository = EntryRepository(session, actor.organisation_id, kind.entity)

    async def create(self, values: Mapping[str, object]) -> int:
        """The id of a new entry. Raises MissingRole, UnknownMember, HierarchyTooDeep or the error of the parent."""
        entry = await self._add(values)
        await self._record("create", entry, None, _given(values))
        return entry.id

    async def update(self, entry_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]) -> None:
        """Change an entry. Raises as `create` does, HierarchyCycle or PreconditionFailed."""
        self._actor.require(Permission.STRUCTURE_WRITE)
        await self._lock_hierarchy(values)
        entry = await self._locked(entry_id, expected)
        # What it has already may stay.
        await self._require_place(entry_id, merge_patch.differing(entry, values)[1])
        before, after = merge_patch.apply(entry, {**values, **self._key(values)})
        await self._finish("update", entry, before, after)

    async def set_active(self, entry_id: int, *, active: bool, expected: ExpectedVersions) -> None:
        """Deactivate or reactivate an entry. Raises ActiveChildren or InactiveParent."""
        self._actor.require(Permission.STRUCTURE_WRITE)
        hierarchy = self._hierarchy()
        if hierarchy is not None:
            await hierarchy.lock()
        entry = await self._locked(entry_id, expected)
        if hierarchy is not None and isinstance(entry, Node):
            await self._require_activity(hierarchy, entry, active=active)
        before, after = merge_patch.apply(entry, {"is_active": active})
        await self._finish("activate" if active else "deactivate", entry, before, after)

    async def _add(self, values: Mapping[str, object]) -> E:
        self._actor.require(Permission.STRUCTURE_WRITE)
        await self._lock_hierarchy(values)
        await self._require_place(None, values)
        entry = self._kind.entity(organisation_id=self._actor.organisation_id, **values, **self._key(values))
        self._session.add(entry)
        await self._session.flush()
        return entry

    async def _locked(self, entry_id: int, expected: ExpectedVersions) -> E:
        entry = await self._repository.locked(entry_id)
        if entry is None:
            raise self._kind.not_found
        require_version(entry.version, expected)
        return entry

    def _hierarchy(self) -> HierarchyRepository | None:
        entity = self._kind.entity
        return HierarchyRepository(self._session, self._actor.organisation_id, entity) if _is_node(entity) else None

    async def _lock_hierarchy(self, values: Mapping[str, object]) -> None:
        hierarchy = self._hierarchy()
        if hierarchy is not None and values.get("parent_id") is not None:
            await hierarchy.lock()

    async def _require_place(self, entry_id: int | None, values: Mapping[str, object]) -> None:
        """Raise unless the parent and the person, as far as they are given, can be those of the entry."""
        hierarchy, parent_id = self._hierarchy(), values.get("parent_id")
        if hierarchy is not None and isinstance(parent_id, int):
            if not await hierarchy.is_active(parent_id):
                raise self._kind.unknown.at("/parent_id")
            require_place(await hierarchy.parents(), entry_id, parent_id)
        person = self._kind.person
        user_id = None if person is None else values.get(person)
        if isinstance(user_id, int) and not await lock_active_members(self._session, self._actor, [user_id]):
            raise errors.UnknownMember.at(f"/{person}")

    @staticmethod
    async def _require_activity(hierarchy: HierarchyRepository, entry: Node, *, active: bool) -> None:
        """Raise unless the entry can be activated or deactivated: parents of active entries are active."""
        if not active and await hierarchy.has_active_children(entry.id):
            raise errors.ActiveChildren
        if active and entry.parent_id is not None and not await hierarchy.is_active(entry.parent_id):
            raise errors.InactiveParent

    def _key(self, values: Mapping[str, object]) -> dict[str, str]:
        """The key, if the attribute that it is of is given."""
        name = self._kind.key
        return {f"{name}_key": name_key(str(values[name]))} if name in values else {}

    async def _finish(self, verb: str, entry: E, before: Mapping[str, object], after: Mapping[str, object]) -> None:
        if after:
            entry.version += 1
            await self._record(verb, entry, before, after)

    async def _record(
        self, verb: str, entry: E, before: Mapping[str, object] | None, after: Mapping[str, object]
    ) -> None:
        name = self._kind.name
        change = audit.Change(f"{name}.{verb}", name, entry.id, before, after, entry.version)
        await audit.record(self._session, self._actor, change)


class ApprovalGroupService(EntryService[ApprovalGroup]):
    """Creates and changes approval groups with their members. Members are locked before the group: leaving does so."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        super().__init__(session, actor, APPROVAL_GROUP)
        self._members = GroupRepository(session, actor.organisation_id)

    async def create(self, values: Mapping[str, object]) -> int:
        self._actor.require(Permission.STRUCTURE_WRITE)
        columns, members = _split(values)
        await self._require_members(members or ())
        group = await self._add(columns)
        await self._members.add(group.id, members or ())
        await self._record("create", group, None, _given(values))
        return group.id

    async def update(self, entry_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]) -> None:
        """Change a group; `member_ids`, if given, are all its members. Those who are in it already may be inactive."""
        self._actor.require(Permission.STRUCTURE_WRITE)
        columns, members = _split(values)
        if members is not None:
            await self._require_members(set(members) - set(await self._members.of(entry_id)))
        group = await self._locked(entry_id, expected)
        before, after = merge_patch.apply(group, {**columns, **self._key(columns)})
        # Read again, since another change may have held the lock of the group.
        present = await self._members.of(entry_id)
        if members is not None and members != present:
            await self._members.remove(entry_id, set(present) - set(members))
            await self._members.add(entry_id, set(members) - set(present))
            before["member_ids"], after["member_ids"] = present, members
        await self._finish("update", group, before, after)

    async def _require_members(self, user_ids: Collection[int]) -> None:
        """Raise UnknownMember unless all are active members."""
        if user_ids and await lock_active_members(self._session, self._actor, user_ids) != set(user_ids):
            raise errors.UnknownMember.at("/member_ids")


def _split(values: Mapping[str, object]) -> tuple[dict[str, object], list[int] | None]:
    """The columns of a group, and the user ids of its members, sorted; None if they are not given."""
    columns = dict(values)
    members = columns.pop("member_ids", None)
    return columns, members if isinstance(members, list) else None


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None and value != []}


def _is_node(entity: type[Entry]) -> TypeGuard[type[Node]]:
    return issubclass(entity, Node)


class StructureService:
    """What requests name of the structure of the organisation. Nothing is locked: entries are never deleted."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._queries = StructureQueries(TransactionExecutor(session), actor)

    async def cost_centre_named(self, code: str, present: int | None = None) -> int | None:
        """As `StructureQueries.cost_centre_named`."""
        return await self._queries.cost_centre_named(code, present)

    async def require_cost_centre(self, cost_centre_id: int, code: str | None) -> str:
        """The code of an active cost centre. Raises UnknownCostCentre, or CostCentreMismatch if `code` is another."""
        return named_code((await self.active_cost_centres([cost_centre_id])).get(cost_centre_id), code)

    async def require_active(self, lines: Sequence[Classified], pointer: str = "") -> None:
        """Raise UnknownCategory or UnknownCostCentre if a line names one that is not active.

        `pointer` is that of a line, with `{}` for its place among the lines.
        """
        known = {
            "category_id": await self.active_categories(line.category_id for line in lines),
            "cost_centre_id": await self.active_cost_centres(line.cost_centre_id for line in lines),
        }
        for name, error in (("category_id", errors.UnknownCategory), ("cost_centre_id", errors.UnknownCostCentre)):
            usable = {None, *known[name]}
            wrong = [place for place, line in enumerate(lines) if getattr(line, name) not in usable]
            if wrong:
                raise error.at(*(f"{pointer.format(place)}/{name}" for place in wrong[:MAX_LISTED_ERRORS]))

    async def active_categories(self, ids: Iterable[int | None]) -> Mapping[int, str]:
        """The codes of those of the categories that are active, by id."""
        return await self._queries.active_categories(given_ids(ids))

    async def active_cost_centres(self, ids: Iterable[int | None]) -> Mapping[int, str]:
        """The codes of those of the cost centres that are active, by id."""
        return await self._queries.active_cost_centres(given_ids(ids))

    async def known_categories(self) -> Mapping[str, int]:
        """The ids of all active categories, by the keys of their codes."""
        return await self._queries.known_categories()

    async def known_cost_centres(self) -> Mapping[str, int]:
        """The ids of all active cost centres, by the keys of their codes."""
        return await self._queries.known_cost_centres()

    async def codes_of_cost_centres(self, ids: Iterable[int | None]) -> Mapping[int | None, str]:
        """The codes of cost centres, by id."""
        return await self._queries.codes_of_cost_centres(given_ids(ids))


def named_code(found: str | None, code: str | None) -> str:
    """The code of a cost centre that was looked up: `code` if it is given. Raises UnknownCostCentre if there is none,
    CostCentreMismatch if `code` is another one."""
    if found is None:
        raise errors.UnknownCostCentre.at("/cost_centre_id")
    if code is not None and name_key(code) != name_key(found):
        raise errors.CostCentreMismatch.at("/cost_centre")
    return found if code is None else code


async def require_places(session: AsyncSession, event: MemberPlaced) -> list[ChangeWarning]:
    """Raise UnknownTeam or UnknownCostCentre unless a member's new team and default cost centre are active."""
    organisation_id = event.actor.organisation_id
    if event.team_id is not None and not await HierarchyRepository(session, organisation_id, Team).is_active(
        event.team_id
    ):
        raise errors.UnknownTeam.at("/team_id")
    cost_centre_id = event.default_cost_centre_id
    if cost_centre_id is not None and not await HierarchyRepository(session, organisation_id, CostCentre).is_active(
        cost_centre_id
    ):
        raise errors.UnknownCostCentre.at("/default_cost_centre_id")
    return []


async def end_responsibilities(session: AsyncSession, event: MemberChanged) -> list[ChangeWarning]:
    """Warnings about the cost centres and teams of a member who is not active any more. Who has left leaves the
    approval groups, too."""
    organisation_id = event.actor.organisation_id
    if await is_active_member(session, event.actor, event.user_id):
        return []
    if await has_left(session, event.actor, event.user_id):
        await GroupRepository(session, organisation_id).remove_from_all(event.user_id)
    vacancies = VacancyRepository(session, organisation_id)
    found = {
        ("inactive_owner", "active cost centres of this owner"): await vacancies.count_owned(event.user_id),
        ("inactive_lead", "active teams with this lead"): await vacancies.count_led(event.user_id),
    }
    return [ChangeWarning(code, f"{what}: {count}") for (code, what), count in found.items() if count]
