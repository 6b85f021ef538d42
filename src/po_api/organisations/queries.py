"""What is read of organisations."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, select

from po_api.db.models import Timestamp
from po_api.db.pagination import Listing, PageOf, PageRequest, all_columns
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor
from po_api.organisations.models import Organisation

SORTS = ("created_at", "name")
_ORGANISATIONS = Organisation.__table__
_LIST = Listing("organisations.list", _ORGANISATIONS, sorts=SORTS, default="created_at", show=all_columns)
_ONE = Query("organisations.get", select(_ORGANISATIONS).where(Organisation.id == ORGANISATION_ID))


def _member() -> Any:
    """The users' entity by way of the relationship: that feature stands above this one."""
    return Organisation.users.property.mapper.class_


def _everyone() -> Select[Any]:
    return select(_ORGANISATIONS)


def _active() -> Select[Any]:
    signed_in = _member().last_login >= bindparam("active_since", type_=Timestamp)
    return _everyone().where(Organisation.users.any(signed_in))


class OrganisationQueries:
    """Named questions about organisations; who may ask them is not decided here."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._executor = executor

    async def get(self, organisation_id: int) -> Any:
        """The organisation's columns, or None."""
        return await self._executor.row(_ONE, organisation_id=organisation_id)

    async def members(self, organisation_id: int) -> Sequence[Any]:
        member = _member()
        of_organisation = select(member.__table__).where(member.organisation_id == ORGANISATION_ID)
        question = Query("organisations.members", of_organisation.order_by(member.name, member.id))
        return await self._executor.rows(question, organisation_id=organisation_id)

    async def page(self, request: PageRequest, *, active_since: datetime | None) -> PageOf[Any]:
        chosen = _everyone if active_since is None else _active
        return await _LIST.page(self._executor, chosen, request, {"active_since": active_since})
