"""Columns of members for the statements of other features."""

from typing import TypeVar

from sqlalchemy import Column, ColumnElement, FromClause, and_, select
from sqlalchemy.orm import InstrumentedAttribute

from po_api.core.permissions import GRANTS, Permission
from po_api.db.query import ORGANISATION_ID
from po_api.members.models import Member

_T = TypeVar("_T")
_UserId = Column[int] | InstrumentedAttribute[int] | ColumnElement[int]


def member_name(user_id: _UserId) -> ColumnElement[str]:
    """The name of the member whose user id is in a column of the outer query; NULL for none.

    Not a join: PostgreSQL may execute one by hashing all members, for a page of fifty rows.
    """
    return _of_member(Member.name, user_id)


def member_is_active(user_id: _UserId) -> ColumnElement[bool]:
    """Whether the member whose user id is in a column of the outer query is active; NULL for none."""
    return _of_member(Member.is_active, user_id)


def member_may(permission: Permission, user_id: _UserId) -> ColumnElement[bool]:
    """Whether the member whose user id is in a column of the outer query is active and has the permission; NULL for
    none."""
    member = _referred()
    return _value(and_(member.c.is_active, has_role_for(permission, member)), member, user_id)


def has_role_for(permission: Permission, members: FromClause) -> ColumnElement[bool]:
    """Whether one of the roles of a member has the permission."""
    granting: ColumnElement[bool] = members.c.roles.overlap(sorted(GRANTS[permission].roles))
    return granting


def _of_member(attribute: InstrumentedAttribute[_T], user_id: _UserId) -> ColumnElement[_T]:
    member = _referred()
    return _value(member.c[attribute.key], member, user_id)


def _referred() -> FromClause:
    """A table of its own: the outer query may be about members, too."""
    return Member.__table__.alias("referred_member")


def _value(value: ColumnElement[_T], member: FromClause, user_id: _UserId) -> ColumnElement[_T]:
    found = select(value).where(member.c.organisation_id == ORGANISATION_ID, member.c.user_id == user_id)
    return found.correlate(user_id.table).scalar_subquery()
