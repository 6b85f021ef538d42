"""Reading comments on a document that the caller has checked to be visible."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, any_, bindparam, select

from po_api.comments.identity import CommentedEntity, Document
from po_api.comments.models import Comment, CommentMention
from po_api.comments.projections import comment_item, is_about, is_addressed
from po_api.core.actor import Actor
from po_api.core.permissions import Role
from po_api.db.json_sql import JsonDocument
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, Query, QueryExecutor
from po_api.members.models import Member

SORTS = ("created_at",)

_COMMENTS = Comment.__table__
_DOCUMENT_ID = bindparam("document_id", type_=BigInteger)
_COMMENT_ID = bindparam("comment_id", type_=BigInteger)


class _Item(NamedTuple):
    item: str


class _VersionedItem(NamedTuple):
    version: int
    item: str


class CommentState(NamedTuple):
    """Who has written a comment, and whether it is deleted."""

    author_id: int
    deleted_at: datetime | None


class _MemberRow(NamedTuple):
    user_id: int
    roles: list[str]


class _MentionRow(NamedTuple):
    user_id: int


_ACTIVE = Query(
    "comments.active_members",
    select(*Member.__table__.c["user_id", "roles"]).where(
        Member.organisation_id == ORGANISATION_ID,
        Member.user_id == any_(bindparam("user_ids", type_=ARRAY(BigInteger))),
        Member.is_active,
    ),
    _MemberRow,
)
_MENTIONED = Query(
    "comments.mentioned",
    select(CommentMention.user_id).where(
        CommentMention.organisation_id == ORGANISATION_ID, CommentMention.comment_id == _COMMENT_ID
    ),
    _MentionRow,
)
_LIST = Listing("comments.list", _COMMENTS, _Item, sorts=SORTS, default="created_at", show=comment_item)


@dataclass(frozen=True)
class _OfDocument:
    """The comments on a document; with `only_addressed`, those that the member has written or is mentioned in."""

    entity: CommentedEntity
    only_addressed: bool

    def __call__(self) -> AnySelect:
        chosen = select(_COMMENTS).where(is_about(f"{self.entity}_id", _DOCUMENT_ID))
        return chosen.where(is_addressed(_COMMENTS)) if self.only_addressed else chosen


def _one(entity: CommentedEntity, *, only_addressed: bool) -> AnySelect:
    return _OfDocument(entity, only_addressed)().where(Comment.id == _COMMENT_ID)


@cache
def _state(entity: CommentedEntity, *, only_addressed: bool) -> Query[CommentState]:
    chosen = _one(entity, only_addressed=only_addressed)
    return Query("comments.state", chosen.with_only_columns(*_COMMENTS.c["author_id", "deleted_at"]), CommentState)


@cache
def _shown(entity: CommentedEntity) -> Query[_VersionedItem]:
    comment = _one(entity, only_addressed=False).subquery("found")
    shown = comment_item(comment)
    statement = shown.with_only_columns(comment.c.version, *shown.selected_columns)
    return Query("comments.get", statement, _VersionedItem)


class CommentQueries:
    """Reads the comments on documents of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    async def page(self, document: Document, request: PageRequest, *, only_addressed: bool = False) -> PageOf[str]:
        """The comments, oldest first, as JSON; with `only_addressed`, those written by or mentioning the member."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        chosen = _OfDocument(document.entity, only_addressed)
        page = await _LIST.page(self._executor, chosen, request, self._parameters(document))
        return PageOf([row.item for row in page.items], page.next_cursor)

    async def shown(self, document: Document, comment_id: int) -> JsonDocument:
        """A comment that exists."""
        query = _shown(document.entity)
        found = await self._executor.row(query, **self._parameters(document), comment_id=comment_id)
        assert found is not None
        return JsonDocument(found.item, found.version, comment_id)

    async def state(self, document: Document, comment_id: int, *, only_addressed: bool = False) -> CommentState | None:
        """Who has written a comment, and whether it is deleted; None if the member sees no such comment."""
        await self._executor.enter_tenant(self._actor.organisation_id)
        query = _state(document.entity, only_addressed=only_addressed)
        return await self._executor.row(query, **self._parameters(document), comment_id=comment_id)

    async def active_members(self, user_ids: Collection[int]) -> list[Actor]:
        """Those of the users who are active members, with their roles."""
        found = await self._executor.rows(_ACTIVE, organisation_id=self._actor.organisation_id, user_ids=list(user_ids))
        return [Actor(self._actor.organisation_id, row.user_id, frozenset(map(Role, row.roles))) for row in found]

    async def mentioned(self, comment_id: int) -> set[int]:
        """The members whom a comment mentions."""
        found = await self._executor.rows(
            _MENTIONED, organisation_id=self._actor.organisation_id, comment_id=comment_id
        )
        return {row.user_id for row in found}

    def _parameters(self, document: Document) -> dict[str, object]:
        mine = {"organisation_id": self._actor.organisation_id, "user_id": self._actor.user_id}
        return {**mine, "document_id": document.id}
