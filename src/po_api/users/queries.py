"""What is read of users. The table is global: each question about members names the organisation."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, Select, Text, bindparam, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.core.permissions import Role
from po_api.db.pagination import Listing, PageOf, PageRequest, all_columns
from po_api.db.query import ORGANISATION_ID, USER_ID, Query, QueryExecutor
from po_api.users.models import User

SORTS = ("created_at", "name")
_USERS = User.__table__
_LIST = Listing("users.list", _USERS, sorts=SORTS, default="created_at", show=all_columns)
_PART = bindparam("q", type_=Text)
_CONDITIONS = {
    "email": User.email == bindparam("email", type_=Text),
    "roles": User.roles.overlap(bindparam("roles", type_=ARRAY(Text))),
    "is_active": User.is_active == bindparam("is_active", type_=Boolean),
    "q": or_(User.name.ilike(_PART, escape="\\"), User.email.ilike(_PART, escape="\\")),
}


@dataclass(frozen=True)
class UserFilters:
    """What a list of users can be narrowed to; several values of one mean any of them."""

    email: str | None = None
    roles: tuple[Role, ...] = ()
    is_active: bool | None = None
    q: str | None = None

    def given(self) -> dict[str, Any]:
        """What narrows the list, and to which values."""
        part = None if self.q is None else f"%{_literally(self.q)}%"
        values = {"email": self.email, "roles": list(self.roles) or None, "is_active": self.is_active, "q": part}
        return {name: value for name, value in values.items() if value is not None}


def _literally(text: str) -> str:
    """`text` as a pattern of LIKE that only matches itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@dataclass(frozen=True)
class _Chosen:
    """The members of one organisation, narrowed by the conditions of these names."""

    narrowed_by: frozenset[str] = frozenset()

    def __call__(self) -> Select[Any]:
        members = User.organisation_id == ORGANISATION_ID
        return select(_USERS).where(members, *(_CONDITIONS[name] for name in sorted(self.narrowed_by)))


_ANY = Query("users.get", select(_USERS).where(User.id == USER_ID))
_MEMBER = Query("users.member", _Chosen()().where(User.id == USER_ID))


class UserQueries:
    """Named questions about users."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._executor = executor

    async def get(self, user_id: int) -> Any:
        """Any user's columns, or None."""
        return await self._executor.row(_ANY, user_id=user_id)

    async def member(self, organisation_id: int, user_id: int) -> Any:
        """A member's columns, or None."""
        return await self._executor.row(_MEMBER, organisation_id=organisation_id, user_id=user_id)

    async def page(self, organisation_id: int, filters: UserFilters, request: PageRequest) -> PageOf[Any]:
        given = filters.given()
        parameters = {"organisation_id": organisation_id, **given}
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, parameters)
