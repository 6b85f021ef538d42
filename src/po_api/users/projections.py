"""Columns of users for the check of credentials, a part of the statements of sessions and API keys."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Protocol

from sqlalchemy import Boolean, ColumnElement, FromClause, and_, func, or_, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import column
from sqlalchemy.types import Text

from po_api.core.actor import Principal
from po_api.core.permissions import Role, Scope
from po_api.db.database import plan_setting, tenant_setting
from po_api.db.models import Amount
from po_api.users.models import User

# The rights of the user where they are now. A function, since row-level security hides members until the tenant is
# entered, which the same statement does.
MEMBER = func.member_of(User.organisation_id, User.id).table_valued(
    column("roles", ARRAY(Text)), column("approval_limit", Amount), column("is_active", Boolean), name="member"
)

# The columns of `PrincipalColumns`. The last two enter the tenant, and set how its statements are planned.
PRINCIPAL_COLUMNS = (
    User.id.label("user_id"),
    User.organisation_id,
    MEMBER.c.roles,
    MEMBER.c.approval_limit,
    User.is_operator,
    User.credentials_version,
    tenant_setting(User.organisation_id).label("tenant"),
    plan_setting().label("plans"),
)


def with_rights(credentials: FromClause) -> FromClause:
    """Rows of credentials joined with their user and the user's rights: the source of `PRINCIPAL_COLUMNS`."""
    users = credentials.join(User.__table__, User.id == credentials.c.user_id)
    return users.outerjoin(MEMBER, true())


def are_valid(credentials: FromClause) -> ColumnElement[bool]:
    """Whether the user may still use these credentials, in a statement on `with_rights`."""
    return and_(
        User.is_active,
        User.credentials_version == credentials.c.credentials_version,
        or_(User.organisation_id.is_(None), MEMBER.c.is_active),
    )


class PrincipalColumns(Protocol):
    """The part of a row that `PRINCIPAL_COLUMNS` select."""

    @property
    def user_id(self) -> int: ...

    @property
    def organisation_id(self) -> int | None: ...

    @property
    def roles(self) -> Sequence[str] | None: ...

    @property
    def approval_limit(self) -> Decimal | None: ...

    @property
    def is_operator(self) -> bool: ...

    @property
    def credentials_version(self) -> int: ...


def principal_of(
    row: PrincipalColumns, *, session_id: int | None = None, scopes: frozenset[Scope] | None = None
) -> Principal:
    """The principal of a row: signed in by the session, or by an API key with `scopes`."""
    return Principal(
        user_id=row.user_id,
        session_id=session_id,
        organisation_id=row.organisation_id,
        roles=_roles(*(row.roles or ())),
        approval_limit=row.approval_limit,
        is_operator=row.is_operator,
        credentials_version=row.credentials_version,
        scopes=scopes,
    )


@cache
def _roles(*names: str) -> frozenset[Role]:
    return frozenset(map(Role, names))
