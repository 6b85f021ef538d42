"""Columns of users for the statements of other features: for representations, and for the check of credentials."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Protocol

from sqlalchemy import Column, ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute

from po_api.core.actor import Principal
from po_api.core.permissions import Role, Scope
from po_api.db.database import tenant_setting
from po_api.users.models import User

# The columns of `PrincipalColumns`. The last one enters the tenant.
PRINCIPAL_COLUMNS = (
    User.id.label("user_id"),
    User.organisation_id,
    User.roles,
    User.approval_limit,
    User.is_operator,
    tenant_setting(User.organisation_id).label("tenant"),
)


class PrincipalColumns(Protocol):
    """The part of a row that `PRINCIPAL_COLUMNS` select."""

    @property
    def user_id(self) -> int: ...

    @property
    def organisation_id(self) -> int | None: ...

    @property
    def roles(self) -> Sequence[str]: ...

    @property
    def approval_limit(self) -> Decimal | None: ...

    @property
    def is_operator(self) -> bool: ...


def principal_of(
    row: PrincipalColumns, *, session_id: int | None = None, scopes: frozenset[Scope] | None = None
) -> Principal:
    """The principal of a row: signed in by the session, or by an API key with `scopes`."""
    return Principal(
        user_id=row.user_id,
        session_id=session_id,
        organisation_id=row.organisation_id,
        roles=_roles(*row.roles),
        approval_limit=row.approval_limit,
        is_operator=row.is_operator,
        scopes=scopes,
    )


@cache
def _roles(*names: str) -> frozenset[Role]:
    return frozenset(map(Role, names))


def user_name(user_id: Column[int] | InstrumentedAttribute[int] | ColumnElement[int]) -> ColumnElement[str]:
    """The name of the user whose id is in a column of the outer query; NULL for none.

    Not a join: PostgreSQL may execute one by hashing all users, for a page of fifty rows.
    """
    outer = user_id.table
    return select(User.name).where(User.id == user_id).correlate(outer).scalar_subquery()
