"""Reading organisations. The table is global: each query names the organisation."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor, Principal
from po_api.db.database import Database, enter_tenant
from po_api.db.pagination import Listing
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor, columns_for, connected
from po_api.organisations.domain import is_verified
from po_api.organisations.errors import LogoNotFound, OrganisationNotFound
from po_api.organisations.models import Organisation, OrganisationLogo
from po_api.organisations.parties import PartyRow

SORTS = ("created_at", "name")


@dataclass(frozen=True)
class OrganisationRow(PartyRow):
    """An organisation with its settings."""

    id: int
    name: str
    workspace_folder_id: str | None
    verified_folder_id: str | None
    timezone: str
    currency: str
    tax_rounding: str
    over_order_percent: Decimal
    max_rate_age_days: int
    max_rate_jump_percent: Decimal
    order_price_percent: Decimal
    allow_self_approval: bool
    allow_override: bool
    porf_prefix: str
    po_prefix: str
    tax_id: str | None
    address: str | None
    buyer_reference: str | None
    default_terms: str | None
    incoterms: str | None
    incoterms_place: str | None
    accent_colour: str | None
    paper: str
    footer_lines: Sequence[str]
    logo_digest: str | None
    mail_per_day: int | None
    allow_other_recipients: bool
    mail_templates: Mapping[str, Mapping[str, str]]
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def workspace_folder_verified(self) -> bool:
        return is_verified(self.workspace_folder_id, self.verified_folder_id)


class OrganisationKey(NamedTuple):
    """The key of an organisation."""

    id: int


ORGANISATIONS = Organisation.__table__
LIST = Listing("organisations.list", ORGANISATIONS, OrganisationRow, sorts=SORTS, default="created_at")
_ONE = Query(
    "organisations.get",
    select(*columns_for(OrganisationRow, ORGANISATIONS)).where(Organisation.id == ORGANISATION_ID),
    OrganisationRow,
)
_IDS = Query("organisations.ids", select(Organisation.id).order_by(Organisation.id), OrganisationKey)


class LogoRow(NamedTuple):
    """The bytes of a logo."""

    content: bytes


_LOGO = Query(
    "organisations.logo",
    select(OrganisationLogo.content).where(OrganisationLogo.organisation_id == ORGANISATION_ID),
    LogoRow,
)


class OrganisationQueries:
    """Reads organisations. Raises OrganisationNotFound for those that the caller may not see."""

    def __init__(self, executor: QueryExecutor) -> None:
        self._executor = executor

    async def own(self, actor: Actor) -> OrganisationRow:
        """The actor's organisation."""
        return await self._get(actor.organisation_id)

    async def logo(self, actor: Actor) -> bytes:
        """The logo of the actor's organisation. Raises LogoNotFound."""
        await self._executor.enter_tenant(actor.organisation_id)
        logo = await self._executor.row(_LOGO, organisation_id=actor.organisation_id)
        if logo is None:
            raise LogoNotFound
        return logo.content

    async def visible(self, principal: Principal, organisation_id: int) -> OrganisationRow:
        """The caller's own organisation, or any for an operator."""
        if organisation_id != principal.organisation_id and not principal.is_operator:
            raise OrganisationNotFound
        return await self._get(organisation_id)

    async def ids(self) -> list[int]:
        """All organisations, for work that is done in each."""
        return [row.id for row in await self._executor.rows(_IDS)]

    async def _get(self, organisation_id: int) -> OrganisationRow:
        organisation = await self._executor.row(_ONE, organisation_id=organisation_id)
        if organisation is None:
            raise OrganisationNotFound
        return organisation


async def in_each_organisation(database: Database, work: Callable[[AsyncSession, int], Awaitable[int]]) -> int:
    """Call `work` in a transaction inside of each organisation, one after the other; returns the sum of its results."""
    async with connected(database.engine) as executor:
        organisations = await OrganisationQueries(executor).ids()
    total = 0
    for organisation_id in organisations:
        async with database.sessions.begin() as session:
            await enter_tenant(session, organisation_id)
            total += await work(session, organisation_id)
    return total
