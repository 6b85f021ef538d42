"""Reading the audit trail: the history of one entity, and the events of an organisation."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from sqlalchemy import ColumnElement, FromClause, Text, and_, func, literal_column, not_, select, true
from sqlalchemy.dialects.postgresql import JSONB, array

from po_api.audit import AuditedEntity, AuditEvent
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.filters import Filters, attribute_of, condition
from po_api.db.json_sql import columns_of, json_object
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, PlanCacheMode, QueryExecutor
from po_api.history.errors import EntityRequired
from po_api.members.projections import member_name

SORTS = ("created_at",)

_EVENTS = AuditEvent.__table__
_EVENT = ("id", "action", "actor_kind", "actor_id")
_CHANGE = ("request_id", "created_at")
# Columns that no representation has.
_INTERNAL = frozenset({"name_key"})


class _Item(NamedTuple):
    """A representation, as JSON."""

    item: str


@dataclass(frozen=True)
class Redaction:
    """What a reader does not see of the events of an entity: attributes of changes, and actions.

    An event that changed nothing but hidden attributes is not shown at all.
    """

    attributes: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()


NOTHING = Redaction()


def _parameters(filters: Filters) -> dict[str, object]:
    """The filters that are used, with their values as parameters. Raises EntityRequired."""
    given = filters.parameters()
    attributes = set(map(attribute_of, given))
    if "entity_id" in attributes and "entity" not in attributes:
        raise EntityRequired
    return given


def _names(attributes: Collection[str]) -> AnyColumn:
    return array(sorted(attributes), type_=Text)


def without(change: AnyColumn, attributes: Collection[str]) -> AnyColumn:
    """The attributes of a change but for these."""
    return change.op("-", return_type=JSONB())(_names(attributes))


def shows_something(attributes: Collection[str]) -> ColumnElement[bool]:
    """Whether the event is about more than these attributes."""
    nothing = literal_column("'{}'::jsonb", JSONB())
    changed = func.coalesce(AuditEvent.after, AuditEvent.before, nothing)
    has_hidden = changed.op("?|", is_comparison=True)(_names(attributes))
    return not_(and_(has_hidden, without(changed, attributes) == nothing))


@dataclass(frozen=True)
class _OfEntity:
    """The events of one entity that the reader sees. Parameters: `entity`, `entity_id`."""

    redaction: Redaction

    def __call__(self) -> AnySelect:
        conditions = [condition(_EVENTS, name) for name in ("entity", "entity_id")]
        if self.redaction.actions:
            conditions.append(AuditEvent.action.not_in(sorted(self.redaction.actions)))
        if self.redaction.attributes:
            conditions.append(shows_something(self.redaction.attributes))
        return select(_EVENTS).where(AuditEvent.organisation_id == ORGANISATION_ID, *conditions)


@dataclass(frozen=True)
class _OfOrganisation:
    """The events of an organisation that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = [condition(_EVENTS, name) for name in sorted(self.narrowed_by)]
        return select(_EVENTS).where(AuditEvent.organisation_id == ORGANISATION_ID, *conditions)


def _show(events: FromClause, hidden: Collection[str], *, names_entity: bool) -> AnySelect:
    fields = {
        **columns_of(events, _EVENT),
        "actor_name": member_name(events.c.actor_id),
        **({} if not names_entity else columns_of(events, ("entity", "entity_id"))),
        **{name: without(events.c[name], hidden) for name in ("before", "after")},
        **columns_of(events, _CHANGE),
    }
    event, text = json_object("event", fields)
    return select(text.label("item")).select_from(events).join(event, true())


@cache
def _history(redaction: Redaction) -> Listing[_Item]:
    hidden = redaction.attributes | _INTERNAL
    return Listing(
        "history.of_entity",
        _EVENTS,
        _Item,
        sorts=SORTS,
        default="created_at",
        show=lambda events: _show(events, hidden, names_entity=False),
    )


_TRAIL = Listing(
    "history.audit_events",
    _EVENTS,
    _Item,
    sorts=SORTS,
    default="-created_at",
    show=lambda events: _show(events, _INTERNAL, names_entity=True),
)


class HistoryQueries:
    """Reads the audit trail of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    async def of(
        self, entity: AuditedEntity, entity_id: int, request: PageRequest, redaction: Redaction = NOTHING
    ) -> PageOf[str]:
        """The events of an entity that the caller has checked to be visible, oldest first, as JSON."""
        return await self._page(_history(redaction), _OfEntity(redaction), request, entity=entity, entity_id=entity_id)

    async def events(self, filters: Filters, request: PageRequest) -> PageOf[str]:
        """The events of the organisation, newest first, as JSON (admins, auditors). Raises EntityRequired."""
        self._actor.require(Permission.AUDIT_READ)
        given = _parameters(filters)
        plans = PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC
        return await self._page(_TRAIL, _OfOrganisation(frozenset(given)), request, plans, **given)

    async def _page(
        self,
        listing: Listing[_Item],
        chosen: "_OfEntity | _OfOrganisation",
        request: PageRequest,
        plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO,
        **parameters: object,
    ) -> PageOf[str]:
        organisation_id = self._actor.organisation_id
        await self._executor.enter_tenant(organisation_id, plan_cache_mode=plan_cache_mode)
        parameters["organisation_id"] = organisation_id
        page = await listing.page(self._executor, chosen, request, parameters)
        return PageOf([row.item for row in page.items], page.next_cursor)
