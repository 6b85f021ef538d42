"""The demo organisation: something to try the API with."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.organisations.models import Organisation
from po_api.organisations.service import OrganisationService
from po_api.suppliers.service import SupplierService
from po_api.users.service import UserService

ORGANISATION = "Demo Organisation"
USERS = {
    "admin@demo.example": ("Ada Admin", Role.ADMIN),
    "requester@demo.example": ("Rosa Requester", Role.REQUESTER),
    "approver@demo.example": ("Amir Approver", Role.APPROVER),
    "buyer@demo.example": ("Bo Buyer", Role.BUYER),
    "auditor@demo.example": ("Aoife Auditor", Role.AUDITOR),
}
SUPPLIER = {"name": "Müller & Söhne GmbH", "email": "orders@mueller.example", "tax_id": "DE123456789"}
ADDRESS = "Hafenstraße 12\n20457 Hamburg\nGermany"


async def is_empty(session: AsyncSession) -> bool:
    """Whether the database has no organisations."""
    return await session.scalar(select(func.count()).select_from(Organisation)) == 0


async def seed(session: AsyncSession) -> None:
    """Create the demo organisation with a user for each role and a supplier. Raises EmailTaken if it exists."""
    organisation = await OrganisationService(session).create(
        name=ORGANISATION, timezone="Europe/London", currency="GBP", address="1 Demo Street\nLondon\nUnited Kingdom"
    )
    await enter_tenant(session, organisation.id)
    users = UserService(session)
    for email, (name, role) in USERS.items():
        await users.create(email=email, name=name, organisation_id=organisation.id, roles=[role])
    buyer = await users.by_email("buyer@demo.example")
    actor = Actor(organisation.id, buyer.id, frozenset({Role.BUYER}))
    await SupplierService(session, actor).create(**SUPPLIER, address=ADDRESS)
