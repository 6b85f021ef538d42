"""The demo organisation: something to try the API with."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.operations.demo_documents import LUMIERE, MUELLER, THORNBURY, DemoDocuments
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
ADDRESS = "1 Demo Street\nLondon E1 6AN\nUnited Kingdom"
SUPPLIERS = (
    {
        "name": MUELLER,
        "email": "orders@mueller.example",
        "tax_id": "DE123456789",
        "address": "Hafenstraße 12\n20457 Hamburg\nGermany",
    },
    {
        "name": LUMIERE,
        "email": "commandes@lumiere.example",
        "tax_id": "FR40303265045",
        "address": "7 rue de la République\n69002 Lyon\nFrance",
    },
    {
        "name": THORNBURY,
        "email": "sales@thornbury.example",
        "tax_id": "GB980780684",
        "address": "22 Canal Road\nLeeds LS1 4AP\nUnited Kingdom",
    },
)


async def is_empty(session: AsyncSession) -> bool:
    """Whether the database has no organisations."""
    return await session.scalar(select(func.count()).select_from(Organisation)) == 0


async def seed(session: AsyncSession) -> None:
    """Create the demo organisation with a user for each role, suppliers in three countries, and requests and orders in
    every state. Raises EmailTaken if it exists."""
    organisation = await OrganisationService(session).create(
        name=ORGANISATION, timezone="Europe/London", currency="GBP", tax_id="GB123456789", address=ADDRESS
    )
    await enter_tenant(session, organisation.id)
    users = UserService(session)
    members = {}
    for email, (name, role) in USERS.items():
        user = await users.create(email=email, name=name, organisation_id=organisation.id, roles=[role])
        members[role] = Actor(organisation.id, user.id, frozenset({role}))
    suppliers = SupplierService(session, members[Role.BUYER])
    ids = {values["name"]: (await suppliers.create(**values)).id for values in SUPPLIERS}
    await DemoDocuments(session, members, ids).make()
