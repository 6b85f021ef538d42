"""Rows of notifications that are added and changed, and the members who are told."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Text,
    Update,
    and_,
    any_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
    union,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_delegations.models import ApprovalDelegation
from po_api.approval_delegations.projections import covers
from po_api.approvals.domain import StepStatus
from po_api.approvals.eligibility import may_decide
from po_api.approvals.models import ApprovalDecision
from po_api.approvals.projections import may_approve_step, members, steps_of
from po_api.comments.models import Comment
from po_api.core.clock import utc_now
from po_api.core.permissions import GRANTS, Permission
from po_api.db.bulk_write import NOW, Rows, as_json, combine, insert_new_from, json_rows
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, AnySelect, NoRow, Query, TransactionExecutor
from po_api.db.separate_writes import SeparateWrites
from po_api.members.models import Member
from po_api.notifications.domain import (
    MAX_ADMINS,
    MAX_RECIPIENTS,
    RESOLVED_WITH_REQUEST,
    Cause,
    NotificationKind,
    NotifiedEntity,
)
from po_api.notifications.models import Notification
from po_api.organisations.models import Organisation
from po_api.porfs.approval_projections import request_columns
from po_api.porfs.domain import PorfStatus
from po_api.porfs.models import Porf
from po_api.purchase_orders.models import PurchaseOrderLine
from po_api.purchase_orders.projections import lines_with_requests
from po_api.purchase_orders.queries import ORDER_ID

_NOTIFICATIONS, _PORFS = Notification.__table__, Porf.__table__
_ADDED = (
    *("user_id", "kind", "porf_id", "purchase_order_id", "approval_delegation_id"),
    *("actor_id", "data", "dedupe_key"),
)
_PORF_ID, _USER_ID = bindparam("porf_id", type_=BigInteger), bindparam("user_id", type_=BigInteger)
_ACTOR_ID = bindparam("actor_id", type_=BigInteger)
_HAS_ROLE = Member.roles.overlap(bindparam("roles", type_=ARRAY(Text)))
_APPROVAL_NEEDED = literal_column(f"'{NotificationKind.APPROVAL_NEEDED}'", Text)
_IS_OWN = and_(Notification.organisation_id == ORGANISATION_ID, Notification.user_id == _USER_ID)


class _Key(NamedTuple):
    id: int


class _MemberRow(NamedTuple):
    user_id: int


class _AskedRow(NamedTuple):
    user_id: int
    dedupe_key: str


# One row for each member and cause: those of causes that they were told of already stay as they are.
_INSERT = insert_new_from(_NOTIFICATIONS, json_rows("notifications", *_NOTIFICATIONS.c[_ADDED]))


def _resolving(*kinds: NotificationKind) -> Update:
    """Resolve what there was to do about a request, of these kinds."""
    return (
        update(Notification)
        .where(
            Notification.organisation_id == ORGANISATION_ID,
            Notification.porf_id == _PORF_ID,
            Notification.kind.in_(literal_column(f"'{kind}'") for kind in kinds),
            Notification.resolved_at.is_(None),
        )
        .values(resolved_at=NOW)
    )


_RESOLVE = _resolving(*RESOLVED_WITH_REQUEST)
_ADD = Query("notifications.add", _INSERT, _Key)
_HAS_APPROVERS = Query("notifications.has_approvers", _resolving(NotificationKind.NO_APPROVER_LEFT), NoRow)
_REVOKED = Query(
    "notifications.revoked",
    update(Notification)
    .where(
        Notification.organisation_id == ORGANISATION_ID,
        Notification.approval_delegation_id == bindparam("delegation_id", type_=BigInteger),
        Notification.resolved_at.is_(None),
    )
    .values(resolved_at=NOW),
    NoRow,
)
_RESOLVE_ALONE = Query("notifications.resolve", _RESOLVE, NoRow)
_RESOLVE_AND_ADD = combine("notifications.resolve_and_add", _RESOLVE, _INSERT)

_USER_IDS = bindparam("user_ids", type_=ARRAY(BigInteger))


def _resolve_cause(entity: NotifiedEntity) -> Query[NoRow]:
    """Note since when there is nothing to do about a cause, for some members or for all."""
    c = _NOTIFICATIONS.c
    statement = (
        update(Notification)
        .where(
            c.organisation_id == ORGANISATION_ID,
            c[f"{entity}_id"] == bindparam("entity_id", type_=BigInteger),
            c.dedupe_key == bindparam("key", type_=Text),
            or_(_USER_IDS.is_(None), c.user_id == any_(_USER_IDS)),
        )
        .values(resolved_at=bindparam("at", type_=Timestamp))
    )
    return Query(f"notifications.resolve_cause_of_{entity}", statement, NoRow)


_RESOLVE_CAUSE = {entity: _resolve_cause(entity) for entity in NotifiedEntity}

_READ = Query(
    "notifications.read",
    update(Notification)
    .where(_IS_OWN, Notification.id == bindparam("of_id", type_=BigInteger), Notification.read_at.is_(None))
    .values(read_at=NOW)
    .returning(Notification.id),
    _Key,
)
# A row that is locked is being resolved: nobody has to read it, and waiting for several could end in a deadlock.
_UNREAD = (
    select(Notification.id)
    .where(_IS_OWN, Notification.read_at.is_(None), Notification.created_at <= bindparam("before", type_=Timestamp))
    .with_for_update(skip_locked=True)
)
_READ_ALL = Query(
    "notifications.read_all",
    update(Notification).where(_IS_OWN, Notification.id.in_(_UNREAD)).values(read_at=NOW).returning(Notification.id),
    _Key,
)


def _asked() -> AnySelect:
    """The members who may approve an active step of a pending request, for themselves or for others, as (user_id,
    dedupe_key); of several steps the first. Those with the lowest ids if there are very many."""
    step, approver, delegate = steps_of(_PORFS, StepStatus.ACTIVE), members("approver"), members("delegate")
    request = request_columns(_PORFS)
    able = (
        select(
            approver.columns.user_id.label("user_id"),
            step.c.id.label("step_id"),
            *_PORFS.c["requester_id", "author_ids"],
            Organisation.allow_self_approval,
        )
        .select_from(
            _PORFS.outerjoin(step, true())
            .join(Organisation, Organisation.id == ORGANISATION_ID)
            .join(approver.table, approver.table.c.organisation_id == ORGANISATION_ID)
        )
        .where(
            Porf.organisation_id == ORGANISATION_ID,
            Porf.id == _PORF_ID,
            Porf.status == PorfStatus.PENDING,
            may_approve_step(step, request, approver.columns),
        )
        .cte("able")
    )
    delegation = and_(
        ApprovalDelegation.organisation_id == ORGANISATION_ID,
        ApprovalDelegation.delegator_id == able.c.user_id,
        ApprovalDelegation.revoked_at.is_(None),
        covers(ApprovalDelegation.__table__, NOW),
    )
    of_able = request._replace(**{name: able.c[name] for name in ("requester_id", "author_ids", "allow_self_approval")})
    of_delegate = and_(
        delegate.table.c.organisation_id == ORGANISATION_ID,
        delegate.columns.user_id == ApprovalDelegation.delegate_id,
        may_decide(of_able, delegate.columns),
    )
    for_others = select(delegate.columns.user_id, able.c.step_id).select_from(
        able.join(ApprovalDelegation, delegation).join(delegate.table, of_delegate)
    )
    every = union_all(select(able.c.user_id, able.c.step_id), for_others).subquery("every")
    key = func.concat("porf:", _PORF_ID, ":step:", func.min(every.c.step_id))
    return (
        select(every.c.user_id, key.label("dedupe_key"))
        .group_by(every.c.user_id)
        .order_by(every.c.user_id)
        .limit(literal_column(str(MAX_RECIPIENTS)))
    )


def _unasked(asked: FromClause) -> Update:
    """Resolve that a request waits for members whom it does not ask any more."""
    still = select(true()).where(asked.c.user_id == Notification.user_id, asked.c.dedupe_key == Notification.dedupe_key)
    return (
        update(Notification)
        .where(
            Notification.organisation_id == ORGANISATION_ID,
            Notification.porf_id == _PORF_ID,
            Notification.kind == _APPROVAL_NEEDED,
            Notification.resolved_at.is_(None),
            ~still.correlate(_NOTIFICATIONS).exists(),
        )
        .values(resolved_at=NOW)
    )


def _ask() -> Query[NoRow]:
    """One statement: whom a request asks, whom it does not ask any more, and who is to be told."""
    asked = _asked().cte("asked")
    told = select(asked).where(asked.c.user_id.is_distinct_from(_ACTOR_ID)).subquery("told")
    others = {"kind": _APPROVAL_NEEDED, "porf_id": _PORF_ID, "actor_id": _ACTOR_ID}
    insert = insert_new_from(_NOTIFICATIONS, told, **others)
    return combine("notifications.ask", _unasked(asked), insert)


def _participants() -> Query[_MemberRow]:
    of_porf = union(
        select(Porf.requester_id.label("user_id")).where(Porf.organisation_id == ORGANISATION_ID, Porf.id == _PORF_ID),
        select(ApprovalDecision.approver_id).where(
            ApprovalDecision.organisation_id == ORGANISATION_ID, ApprovalDecision.porf_id == _PORF_ID
        ),
        _commenters(Comment.porf_id == _PORF_ID),
    )
    return Query("notifications.participants", of_porf, _MemberRow)


def _order_participants() -> Query[_MemberRow]:
    """Those who see all comments: who sees a part of the order is told of what mentions them."""
    lines = (
        select(Porf.requester_id.label("user_id"))
        .select_from(lines_with_requests())
        .where(PurchaseOrderLine.organisation_id == ORGANISATION_ID, PurchaseOrderLine.purchase_order_id == ORDER_ID)
    )
    concerned = union(lines, _commenters(Comment.purchase_order_id == ORDER_ID))
    of_others = lines.where(Porf.requester_id != Member.user_id).correlate(Member).exists()
    seeing = select(Member.user_id).where(
        Member.organisation_id == ORGANISATION_ID,
        Member.user_id.in_(concerned),
        or_(_HAS_ROLE, ~of_others),
    )
    return Query("notifications.order_participants", seeing, _MemberRow)


def _commenters(of_document: ColumnElement[bool]) -> AnySelect:
    return select(Comment.author_id).where(Comment.organisation_id == ORGANISATION_ID, of_document)


_ASKED = Query("notifications.asked", _asked(), _AskedRow, one_plan=True)
_UNASKED = Query(
    "notifications.unasked", _unasked(json_rows("asked", *_NOTIFICATIONS.c["user_id", "dedupe_key"])), NoRow
)
_ASK, _PARTICIPANTS, _ORDER_PARTICIPANTS = _ask(), _participants(), _order_participants()
_ADMINS = Query(
    "notifications.admins",
    select(Member.user_id)
    .where(
        Member.organisation_id == ORGANISATION_ID,
        Member.is_active,
        _HAS_ROLE,
    )
    .order_by(Member.user_id)
    .limit(literal_column(str(MAX_ADMINS + 1))),
    _MemberRow,
)


class NotificationRepository:
    """The notifications of one organisation, whose tenant the session's transaction has entered."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._tenant = {"organisation_id": organisation_id}

    async def add(self, rows: Rows) -> None:
        """Add notifications; whoever was told of the same cause is not told again."""
        found, now = list(rows), utc_now()
        if found and self._executor.is_distributed:
            whole = [{name: row.get(name) for name in _ADDED} for row in found]
            await SeparateWrites(self._session, self._tenant["organisation_id"], now).insert_new(_NOTIFICATIONS, whole)
        elif found:
            await self._executor.rows(_ADD, **self._tenant, now=now, notifications=as_json(found))

    async def resolve(self, porf_id: int, rows: Rows = ()) -> None:
        """Resolve what there was to do about a request that does not wait any more, and add notifications."""
        found, now = list(rows), utc_now()
        if not found or self._executor.is_distributed:
            await self._executor.execute(_RESOLVE_ALONE, **self._tenant, porf_id=porf_id, now=now)
            await self.add(found)
            return
        parameters = {"porf_id": porf_id, "now": now, "notifications": as_json(found)}
        await self._executor.execute(_RESOLVE_AND_ADD, **self._tenant, **parameters)

    async def has_approvers(self, porf_id: int) -> None:
        """Resolve that a request had no approver left."""
        await self._executor.execute(_HAS_APPROVERS, **self._tenant, porf_id=porf_id, now=utc_now())

    async def is_revoked(self, delegation_id: int) -> None:
        """Resolve that a member may decide for another."""
        await self._executor.execute(_REVOKED, **self._tenant, delegation_id=delegation_id, now=utc_now())

    async def resolve_cause(self, cause: Cause, user_ids: Collection[int] | None, *, at: datetime | None) -> None:
        """Note since when there is nothing to do about a cause, None for not yet; for these members, or for all."""
        if user_ids is None or user_ids:
            about = {"entity_id": cause.entity_id, "key": cause.key, "at": at}
            ids = None if user_ids is None else sorted(user_ids)
            await self._executor.execute(_RESOLVE_CAUSE[cause.entity], **self._tenant, **about, user_ids=ids)

    async def read(self, user_id: int, notification_id: int) -> None:
        """Note that the member has read one of their notifications; one that was read stays as it is."""
        await self._executor.row(_READ, **self._tenant, user_id=user_id, of_id=notification_id, now=utc_now())

    async def read_all(self, user_id: int, before: datetime) -> int:
        """Note that the member has read all up to a time; returns the number of those that were unread."""
        return len(await self._executor.rows(_READ_ALL, **self._tenant, user_id=user_id, before=before, now=utc_now()))

    async def ask(self, porf_id: int, actor_id: int | None) -> None:
        """Tell those whom a pending request asks for approval and who were not told of the step before, but for the
        actor; for those whom it does not ask any more, there is nothing to do about it."""
        parameters = {"porf_id": porf_id, "now": utc_now()}
        if not self._executor.is_distributed:
            await self._executor.execute(_ASK, **self._tenant, **parameters, actor_id=actor_id)
            return
        asked = [row._asdict() for row in await self._executor.rows(_ASKED, **self._tenant, **parameters)]
        await self._executor.execute(_UNASKED, **self._tenant, **parameters, asked=as_json(asked))
        common = {"kind": NotificationKind.APPROVAL_NEEDED, "porf_id": porf_id, "actor_id": actor_id, "data": {}}
        await self.add([row | common for row in asked if row["user_id"] != actor_id])

    async def asked(self, porf_id: int, step_id: int) -> list[int]:
        """The members who may approve an active step of a request, and no step before it."""
        rows = await self._executor.rows(_ASKED, **self._tenant, porf_id=porf_id, now=utc_now())
        return [row.user_id for row in rows if row.dedupe_key == f"porf:{porf_id}:step:{step_id}"]

    async def participants(self, porf_id: int) -> list[int]:
        """The requester, the deciders and the authors of comments of a request."""
        return await self._members(_PARTICIPANTS, porf_id=porf_id)

    async def order_participants(self, order_id: int) -> list[int]:
        """The requesters of an order and the authors of its comments, but for those who see a part of it."""
        roles = sorted(GRANTS[Permission.PURCHASE_ORDERS_READ_ALL].roles)
        return await self._members(_ORDER_PARTICIPANTS, order_id=order_id, roles=roles)

    async def admins(self) -> list[int]:
        """The active admins, those with the lowest ids if there are very many."""
        return await self._members(_ADMINS, roles=sorted(GRANTS[Permission.USERS_MANAGE].roles))

    async def _members(self, query: Query[_MemberRow], **parameters: object) -> list[int]:
        return [row.user_id for row in await self._executor.rows(query, **self._tenant, **parameters)]
