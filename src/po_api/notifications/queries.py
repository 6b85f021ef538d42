"""Reading notifications: those of the member, about what they may see now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from json import loads
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
)

from po_api.approval_delegations.models import ApprovalDelegation
from po_api.core.actor import Actor
from po_api.db.filters import Filters
from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, USER_ID, AnyColumn, AnySelect, Query, QueryExecutor
from po_api.members.models import Member
from po_api.members.projections import member_name
from po_api.notifications.domain import (
    DEFAULTS,
    MAX_COUNTED,
    MAX_LISTED,
    REQUIRED,
    EmailChoice,
    NotificationKind,
    NotifiedEntity,
)
from po_api.notifications.errors import NotificationNotFound
from po_api.notifications.models import Notification, NotificationPreference
from po_api.porfs.models import Porf
from po_api.porfs.visibility import Visibility
from po_api.porfs.visibility import visible as visible_porf
from po_api.purchase_orders.models import PurchaseOrder
from po_api.purchase_orders.queries import sees_all
from po_api.purchase_orders.queries import visible as visible_order

SORTS = ("created_at",)
_NOTIFICATIONS = Notification.__table__


class NotificationRow(NamedTuple):
    """A notification. `number` and `title` are those that the request or order has now; the title of an order is the
    name of its supplier, that of a delegation the name of the delegator."""

    id: int
    kind: str
    entity: str
    entity_id: int
    number: str | None
    title: str
    actor_id: int | None
    actor_name: str | None
    data: str
    created_at: datetime
    read_at: datetime | None
    resolved_at: datetime | None

    @property
    def details(self) -> dict[str, Any]:
        """`data`, which is JSON."""
        return dict(loads(self.data))


class PreferenceRow(NamedTuple):
    """What a member has chosen for a kind of notifications."""

    kind: str
    in_app: bool
    email: str
    version: int


class _Count(NamedTuple):
    unread: int


class _Sight(NamedTuple):
    """What a member may see of what notifications are about, and the kinds that are for them: only those that this
    version knows, since a later one may run beside it."""

    porfs: Visibility
    all_orders: bool
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, actor: Actor) -> "_Sight":
        kinds = (str(kind) for kind in NotificationKind if kind not in REQUIRED or actor.may(REQUIRED[kind]))
        return cls(Visibility.of(actor), sees_all(actor), tuple(kinds))


def _show(rows: FromClause) -> AnySelect:
    c = rows.c
    porf = and_(Porf.organisation_id == ORGANISATION_ID, Porf.id == c.porf_id)
    order = and_(PurchaseOrder.organisation_id == ORGANISATION_ID, PurchaseOrder.id == c.purchase_order_id)

    by = and_(
        ApprovalDelegation.organisation_id == ORGANISATION_ID,
        ApprovalDelegation.id == c.approval_delegation_id,
        Member.user_id == ApprovalDelegation.delegator_id,
    )
    delegator = select(Member.name).where(Member.organisation_id == ORGANISATION_ID, by)

    def first(*found: AnySelect) -> AnyColumn:
        return func.coalesce(*(each.correlate(rows).scalar_subquery() for each in found))

    entity = case(
        (c.porf_id.is_not(None), NotifiedEntity.PORF.value),
        (c.purchase_order_id.is_not(None), NotifiedEntity.PURCHASE_ORDER.value),
        else_=NotifiedEntity.APPROVAL_DELEGATION.value,
    )
    titles = (select(Porf.title).where(porf), select(PurchaseOrder.supplier_name).where(order), delegator)
    return select(
        c.id,
        c.kind,
        entity.label("entity"),
        func.coalesce(c.porf_id, c.purchase_order_id, c.approval_delegation_id).label("entity_id"),
        first(select(Porf.number).where(porf), select(PurchaseOrder.number).where(order)).label("number"),
        first(*titles).label("title"),
        c.actor_id,
        member_name(c.actor_id).label("actor_name"),
        c.data.cast(Text).label("data"),
        c.created_at,
        c.read_at,
        c.resolved_at,
    )


_LIST = Listing("notifications.list", _NOTIFICATIONS, NotificationRow, sorts=SORTS, default="-created_at", show=_show)


def _is_visible(sight: _Sight) -> ColumnElement[bool]:
    """The notifications of the member that are about something that they may see."""
    porfs = select(true()).where(visible_porf(sight.porfs), Porf.id == Notification.porf_id)
    orders = select(true()).where(
        visible_order(sees_all=sight.all_orders), PurchaseOrder.id == Notification.purchase_order_id
    )
    return and_(
        Notification.organisation_id == ORGANISATION_ID,
        Notification.user_id == USER_ID,
        Notification.kind.in_([literal_column(f"'{kind}'") for kind in sight.kinds]),
        or_(
            and_(Notification.porf_id.is_not(None), porfs.correlate(_NOTIFICATIONS).exists()),
            and_(Notification.purchase_order_id.is_not(None), orders.correlate(_NOTIFICATIONS).exists()),
            # Everybody sees what was delegated to them.
            Notification.approval_delegation_id.is_not(None),
        ),
    )


def _of_kind() -> ColumnElement[bool]:
    """The member's preference for the kind of a notification of the outer query."""
    return and_(
        NotificationPreference.organisation_id == ORGANISATION_ID,
        NotificationPreference.user_id == USER_ID,
        NotificationPreference.kind == Notification.kind,
    )


def _is_listed() -> ColumnElement[bool]:
    hidden = select(true()).where(_of_kind(), NotificationPreference.in_app.is_(False))
    return ~hidden.correlate(_NOTIFICATIONS).exists()


def _is_unread() -> ColumnElement[bool]:
    """Neither read nor resolved: an inbox has nothing in it that does not wait any more."""
    return and_(Notification.read_at.is_(None), Notification.resolved_at.is_(None))


@dataclass(frozen=True)
class _Chosen:
    """The notifications of a list; with `unread` those only."""

    sight: _Sight
    unread: bool

    def __call__(self) -> AnySelect:
        conditions = [_is_unread()] if self.unread else []
        return select(_NOTIFICATIONS).where(_is_visible(self.sight), _is_listed(), *conditions)


@cache
def _count(sight: _Sight) -> Query[_Count]:
    some = _Chosen(sight, unread=True)().with_only_columns(Notification.id).limit(literal_column(str(MAX_COUNTED)))
    return Query("notifications.count", select(func.count().label("unread")).select_from(some.subquery()), _Count)


@cache
def _one(sight: _Sight) -> Query[NotificationRow]:
    chosen = _Chosen(sight, unread=False)().where(Notification.id == bindparam("notification_id", type_=BigInteger))
    return Query("notifications.get", _show(chosen.subquery("found")), NotificationRow)


def chosen_email(kind: AnyColumn, preferred: AnyColumn) -> ColumnElement[str]:
    """The choice of a member for mails about a kind: the preferred one, or the default. A later version may have added
    notifications of other kinds, which it mails itself if need be."""
    defaults = [(kind == str(name), str(default.email)) for name, default in DEFAULTS.items()]
    return func.coalesce(preferred, case(*defaults, else_=str(EmailChoice.OFF)))


@cache
def _to_mail(sight: _Sight, *, is_single: bool) -> Query[NotificationRow]:
    """The notifications to be mailed that are unread still, and that the member wants to be told of in this way."""
    mailed = (
        Notification.id == bindparam("notification_id", type_=BigInteger)
        if is_single
        else Notification.created_at >= bindparam("since", type_=Timestamp)
    )
    preferred = select(NotificationPreference.email).where(_of_kind()).correlate(_NOTIFICATIONS).scalar_subquery()
    wanted = chosen_email(_NOTIFICATIONS.c.kind, preferred) == bindparam("email", type_=Text)
    chosen = (
        select(_NOTIFICATIONS)
        .where(_is_visible(sight), _is_unread(), Notification.mailed_at.is_(None), mailed, wanted)
        .order_by(Notification.created_at, Notification.id)
        # One more tells that there are more.
        .limit(literal_column(str(MAX_LISTED + 1)))
        .subquery("found")
    )
    shown = _show(chosen).order_by(chosen.c.created_at, chosen.c.id)
    return Query("notifications.to_mail", shown, NotificationRow)


_PREFERENCES = Query(
    "notifications.preferences",
    select(*NotificationPreference.__table__.c["kind", "in_app", "email", "version"]).where(
        NotificationPreference.organisation_id == ORGANISATION_ID, NotificationPreference.user_id == USER_ID
    ),
    PreferenceRow,
)


class NotificationQueries:
    """Reads the notifications and preferences of the actor, who is a member."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id
        self._who = {"organisation_id": actor.organisation_id, "user_id": actor.member_id}
        self._sight = _Sight.of(actor)

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[NotificationRow]:
        """The notifications of the actor, by default the newest first; with the filter `unread` those only."""
        await self._executor.enter_tenant(self._organisation_id)
        chosen = _Chosen(self._sight, unread=bool(filters.parameters().get("unread")))
        return await _LIST.page(self._executor, chosen, request, self._who)

    async def unread(self) -> int:
        """The number of unread notifications, at most MAX_COUNTED."""
        await self._executor.enter_tenant(self._organisation_id)
        found = await self._executor.row(_count(self._sight), **self._who)
        assert found is not None
        return found.unread

    async def get(self, notification_id: int) -> NotificationRow:
        """Raises NotificationNotFound."""
        await self._executor.enter_tenant(self._organisation_id)
        found = await self._executor.row(_one(self._sight), **self._who, notification_id=notification_id)
        if found is None:
            raise NotificationNotFound
        return found

    async def to_mail(self, notification_id: int) -> Sequence[NotificationRow]:
        """One notification, if it is to be mailed to the actor."""
        return await self._to_mail(EmailChoice.NOW, notification_id=notification_id)

    async def for_digest(self, since: datetime) -> Sequence[NotificationRow]:
        """What there is since a time for a digest to the actor, the oldest first; at most one more than MAX_LISTED."""
        return await self._to_mail(EmailChoice.DIGEST, since=since)

    async def _to_mail(self, email: EmailChoice, **which: object) -> Sequence[NotificationRow]:
        query = _to_mail(self._sight, is_single=email is EmailChoice.NOW)
        return await self._executor.rows(query, **self._who, email=str(email), **which)

    async def preferences(self) -> Mapping[NotificationKind, PreferenceRow]:
        """What the actor has chosen, by the kind; kinds without a choice are missing."""
        await self._executor.enter_tenant(self._organisation_id)
        rows = await self._executor.rows(_PREFERENCES, **self._who)
        return {NotificationKind(row.kind): row for row in rows if row.kind in set(NotificationKind)}
