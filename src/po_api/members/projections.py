"""Columns of members for the statements of other features."""

from sqlalchemy import Column, ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute

from po_api.db.query import ORGANISATION_ID
from po_api.members.models import Member


def member_name(user_id: Column[int] | InstrumentedAttribute[int] | ColumnElement[int]) -> ColumnElement[str]:
    """The name of the member whose user id is in a column of the outer query; NULL for none.

    Not a join: PostgreSQL may execute one by hashing all members, for a page of fifty rows.
    """
    found = select(Member.name).where(Member.organisation_id == ORGANISATION_ID, Member.user_id == user_id)
    return found.correlate(user_id.table).scalar_subquery()
