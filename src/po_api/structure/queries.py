"""Reading cost centres, categories, teams and approval groups."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple

from sqlalchemy import BigInteger, Boolean, ColumnElement, FromClause, Text, any_, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.core.actor import Actor
from po_api.core.errors import NotFound
from po_api.core.records import field_names
from po_api.core.text import name_key
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, Query, QueryExecutor, R
from po_api.db.search import containing, contains
from po_api.members.models import Member
from po_api.members.projections import member_is_active, member_name
from po_api.structure import errors
from po_api.structure.models import ApprovalGroup, ApprovalGroupMember, Category, CostCentre, Team

NAMED_SORTS = ("created_at", "name", "updated_at")
CODED_SORTS = ("code", *NAMED_SORTS)


class CostCentreRow(NamedTuple):
    """A cost centre."""

    id: int
    code: str
    name: str
    parent_id: int | None
    owner_id: int | None
    owner_name: str | None
    owner_is_active: bool | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class CategoryRow(NamedTuple):
    """A category."""

    id: int
    code: str
    name: str
    parent_id: int | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class TeamRow(NamedTuple):
    """A team."""

    id: int
    name: str
    parent_id: int | None
    lead_id: int | None
    lead_name: str | None
    lead_is_active: bool | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class ApprovalGroupRow(NamedTuple):
    """An approval group."""

    id: int
    name: str
    member_count: int
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class GroupMemberRow(NamedTuple):
    """A member of an approval group; `id` is the user's."""

    id: int
    name: str
    is_active: bool


class _Coded(NamedTuple):
    """An entry with its code, and the key of the code."""

    id: int
    code: str
    code_key: str
    is_active: bool


_COST_CENTRES, _CATEGORIES, _TEAMS = CostCentre.__table__, Category.__table__, Team.__table__
_GROUPS, _GROUP_MEMBERS = ApprovalGroup.__table__, ApprovalGroupMember.__table__
_ENTRY_ID = bindparam("entry_id", type_=BigInteger)
_PATTERN = bindparam("q", type_=Text)


@dataclass(frozen=True, eq=False)
class Directory(Generic[R]):
    """The list of one kind of entries, the query of one, and the conditions of filters that are no columns."""

    table: FromClause
    listing: Listing[R]
    one: Query[R]
    not_found: type[NotFound]
    conditions: Mapping[str, ColumnElement[bool]]


def _directory(
    table: FromClause,
    row: type[R],
    not_found: type[NotFound],
    *,
    computed: Callable[[FromClause], Mapping[str, AnyColumn]] = lambda _rows: {},
    conditions: Mapping[str, ColumnElement[bool]],
) -> Directory[R]:
    """`computed` are those columns of `row`, by name, that the table does not have."""

    def show(rows: FromClause) -> AnySelect:
        others = computed(rows)
        columns = [others[name].label(name) if name in others else rows.c[name] for name in field_names(row)]
        return select(*columns)

    name, is_coded = str(table), "code" in table.c
    texts = [table.c[column] for column in ("code", "name") if column in table.c]
    sorts = CODED_SORTS if is_coded else NAMED_SORTS
    own = table.c.organisation_id == ORGANISATION_ID
    return Directory(
        table,
        Listing(f"{name}.list", table, row, sorts=sorts, default=sorts[0] if is_coded else "name", show=show),
        Query(f"{name}.get", show(table).where(own, table.c.id == _ENTRY_ID), row),
        not_found,
        {"q": contains(_PATTERN, *texts), **conditions},
    )


def _person(column: str) -> Callable[[FromClause], Mapping[str, AnyColumn]]:
    """The name and the activity of the member whose id is in the column `<column>_id`."""

    def computed(rows: FromClause) -> Mapping[str, AnyColumn]:
        user_id = rows.c[f"{column}_id"]
        return {f"{column}_name": member_name(user_id), f"{column}_is_active": member_is_active(user_id)}

    return computed


def _is_active_person(table: FromClause, column: str) -> dict[str, ColumnElement[bool]]:
    name = f"{column}_is_active"
    return {name: member_is_active(table.c[f"{column}_id"]) == bindparam(name, type_=Boolean)}


def _has_parent(table: FromClause) -> dict[str, ColumnElement[bool]]:
    return {"has_parent": table.c.parent_id.is_not(None) == bindparam("has_parent", type_=Boolean)}


def _count_members(groups: FromClause) -> Mapping[str, AnyColumn]:
    of_group = (_GROUP_MEMBERS.c.organisation_id == ORGANISATION_ID, _GROUP_MEMBERS.c.group_id == groups.c.id)
    count = select(func.count()).select_from(_GROUP_MEMBERS).where(*of_group)
    return {"member_count": count.correlate(groups).scalar_subquery()}


def _has_member() -> dict[str, ColumnElement[bool]]:
    member_id = bindparam("member_id", type_=BigInteger)
    found = select(true()).where(
        _GROUP_MEMBERS.c.organisation_id == ORGANISATION_ID,
        _GROUP_MEMBERS.c.group_id == _GROUPS.c.id,
        _GROUP_MEMBERS.c.user_id == member_id,
    )
    return {"member_id": found.correlate(_GROUPS).exists()}


COST_CENTRES = _directory(
    _COST_CENTRES,
    CostCentreRow,
    errors.CostCentreNotFound,
    computed=_person("owner"),
    conditions=_has_parent(_COST_CENTRES) | _is_active_person(_COST_CENTRES, "owner"),
)
CATEGORIES = _directory(_CATEGORIES, CategoryRow, errors.CategoryNotFound, conditions=_has_parent(_CATEGORIES))
TEAMS = _directory(
    _TEAMS,
    TeamRow,
    errors.TeamNotFound,
    computed=_person("lead"),
    conditions=_has_parent(_TEAMS) | _is_active_person(_TEAMS, "lead"),
)
APPROVAL_GROUPS = _directory(
    _GROUPS, ApprovalGroupRow, errors.ApprovalGroupNotFound, computed=_count_members, conditions=_has_member()
)


@dataclass(frozen=True)
class _Chosen(Generic[R]):
    """The entries of one organisation that fulfil the conditions of these names."""

    directory: Directory[R]
    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        table, own = self.directory.table, self.directory.conditions
        conditions = (own[name] if name in own else condition(table, name) for name in sorted(self.narrowed_by))
        return select(table).where(table.c.organisation_id == ORGANISATION_ID, *conditions)


class DirectoryQueries(Generic[R]):
    """Reads the entries of one kind of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor, directory: Directory[R]) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id
        self._directory = directory

    async def get(self, entry_id: int) -> R:
        """An entry. Raises the error of the directory if there is none."""
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {"organisation_id": self._organisation_id, "entry_id": entry_id}
        entry = await self._executor.row(self._directory.one, **parameters)
        if entry is None:
            raise self._directory.not_found
        return entry

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[R]:
        given = filters.parameters()
        if "q" in given:
            given["q"] = containing(str(given["q"]))
        await self._executor.enter_tenant(self._organisation_id)
        chosen = _Chosen(self._directory, frozenset(given))
        parameters = {"organisation_id": self._organisation_id, **given}
        return await self._directory.listing.page(self._executor, chosen, request, parameters)


def _coded(table: FromClause, name: str) -> Query[_Coded]:
    """The entries with these ids, and the active ones with these keys of codes."""
    c = table.c
    ids, keys = bindparam("ids", type_=ARRAY(BigInteger)), bindparam("keys", type_=ARRAY(Text))
    found = (c.id == any_(ids)) | (c.is_active & (c.code_key == any_(keys)))
    statement = select(c.id, c.code, c.code_key, c.is_active).where(c.organisation_id == ORGANISATION_ID, found)
    return Query(f"{name}.coded", statement, _Coded)


def _known(table: FromClause, name: str) -> Query[_Coded]:
    """All active entries."""
    c = table.c
    statement = select(c.id, c.code, c.code_key, c.is_active).where(c.organisation_id == ORGANISATION_ID, c.is_active)
    return Query(f"{name}.known", statement, _Coded)


_KNOWN_COST_CENTRES, _KNOWN_CATEGORIES = _known(_COST_CENTRES, "cost_centres"), _known(_CATEGORIES, "categories")
_CODED_COST_CENTRES = _coded(_COST_CENTRES, "cost_centres")
_CODED_CATEGORIES = _coded(_CATEGORIES, "categories")
_MEMBERS_OF_GROUP = Query(
    "approval_groups.members",
    select(Member.user_id.label("id"), Member.name, Member.is_active)
    .join(ApprovalGroupMember, ApprovalGroupMember.user_id == Member.user_id)
    .where(
        Member.organisation_id == ORGANISATION_ID,
        ApprovalGroupMember.organisation_id == ORGANISATION_ID,
        ApprovalGroupMember.group_id == _ENTRY_ID,
    )
    .order_by(Member.name, Member.user_id),
    GroupMemberRow,
)


class StructureQueries:
    """Looks up what other features refer to."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def active_cost_centres(self, ids: Collection[int]) -> Mapping[int, str]:
        """The codes of those of the cost centres that are active, by id."""
        return _active(await self._coded(_CODED_COST_CENTRES, ids))

    async def active_categories(self, ids: Collection[int]) -> Mapping[int, str]:
        """The codes of those of the categories that are active, by id."""
        return _active(await self._coded(_CODED_CATEGORIES, ids))

    async def codes_of_cost_centres(self, ids: Collection[int]) -> Mapping[int | None, str]:
        """The codes of cost centres, by id."""
        return {row.id: row.code for row in await self._coded(_CODED_COST_CENTRES, ids)}

    async def codes_of_categories(self, ids: Collection[int]) -> Mapping[int | None, str]:
        """The codes of categories, by id."""
        return {row.id: row.code for row in await self._coded(_CODED_CATEGORIES, ids)}

    async def known_cost_centres(self) -> Mapping[str, int]:
        """The ids of all active cost centres, by the keys of their codes."""
        return await self._known(_KNOWN_COST_CENTRES)

    async def known_categories(self) -> Mapping[str, int]:
        """The ids of all active categories, by the keys of their codes."""
        return await self._known(_KNOWN_CATEGORIES)

    async def _known(self, query: Query[_Coded]) -> Mapping[str, int]:
        await self._executor.enter_tenant(self._organisation_id)
        rows = await self._executor.rows(query, organisation_id=self._organisation_id)
        return {row.code_key: row.id for row in rows}

    async def cost_centre_named(self, code: str, present: int | None = None) -> int | None:
        """The id of the cost centre with this code, in any spelling: the `present` one if it has it, or else the active
        one; None without."""
        key = name_key(code)
        rows = await self._coded(_CODED_COST_CENTRES, () if present is None else [present], [key])
        named = [row.id for row in rows if row.code_key == key]
        return present if present in named else next(iter(named), None)

    async def members_of(self, group_id: int) -> Sequence[GroupMemberRow]:
        """The members of an approval group, by name."""
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {"organisation_id": self._organisation_id, "entry_id": group_id}
        return await self._executor.rows(_MEMBERS_OF_GROUP, **parameters)

    async def _coded(self, query: Query[_Coded], ids: Collection[int], keys: Sequence[str] = ()) -> Sequence[_Coded]:
        """Without ids and keys there is no statement."""
        if not ids and not keys:
            return ()
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {"organisation_id": self._organisation_id, "ids": list(ids), "keys": list(keys)}
        return await self._executor.rows(query, **parameters)


def _active(rows: Sequence[_Coded]) -> Mapping[int, str]:
    return {row.id: row.code for row in rows if row.is_active}
