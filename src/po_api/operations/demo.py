"""The demo organisation: something to try the API with."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.addresses.service import AddressService
from po_api.approval_policies.domain import DocumentType
from po_api.approval_policies.service import PolicyService
from po_api.core.actor import Actor
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.listeners import all_listeners
from po_api.members.service import MemberService
from po_api.operations.demo_documents import LUMIERE, MUELLER, THORNBURY, DemoDocuments
from po_api.organisations.models import Organisation
from po_api.organisations.service import OrganisationService
from po_api.structure.models import Category, CostCentre, Team
from po_api.structure.service import CATEGORY, COST_CENTRE, TEAM, ApprovalGroupService, EntryService
from po_api.suppliers.service import SupplierService
from po_api.users.service import UserService

ORGANISATION = "Demo Organisation"
MAIL_SENDER = "purchasing@demo.example"
# Mails of the demo are files, unless the operator has configured a server.
MAILS_PER_DAY = 100
USERS = {
    "admin@demo.example": ("Ada Admin", Role.ADMIN),
    "requester@demo.example": ("Rosa Requester", Role.REQUESTER),
    "approver@demo.example": ("Amir Approver", Role.APPROVER),
    "buyer@demo.example": ("Bo Buyer", Role.BUYER),
    "auditor@demo.example": ("Aoife Auditor", Role.AUDITOR),
}
SETTINGS: dict[str, object] = {
    "name": ORGANISATION,
    "timezone": "Europe/London",
    "currency": "GBP",
    "tax_id": "GB123456789",
    "legal_name": "Demo Organisation Ltd",
    "street": "1 Demo Street",
    "city": "London",
    "postal_code": "E1 6AN",
    "country": "GB",
    "contact_name": "Bo Buyer",
    "contact_email": "purchasing@demo.example",
    "contact_phone": "+44 20 7946 0000",
    "default_terms": "Quote the order number on invoice and delivery note.",
    "payment_days": 30,
    "incoterms": "DAP",
    "incoterms_place": "London",
    "footer_lines": ["Demo Organisation Ltd · 1 Demo Street · London E1 6AN"],
}
DELIVERY_ADDRESS: dict[str, object] = {
    "kind": "delivery",
    "name": "Goods entrance",
    "street": "3 Mill Lane",
    "city": "London",
    "postal_code": "E1 6AN",
    "country": "GB",
    "is_default": True,
}
SUPPLIERS: tuple[dict[str, Any], ...] = (
    {
        "name": MUELLER,
        "email": "orders@mueller.example",
        "tax_id": "DE123456789",
        "vat_id": "DE136695976",
        "street": "Hafenstraße 12",
        "city": "Hamburg",
        "postal_code": "20457",
        "country": "DE",
        "language": "de",
    },
    {
        "name": LUMIERE,
        "email": "commandes@lumiere.example",
        "tax_id": "FR40303265045",
        "vat_id": "FR40303265045",
        "street": "7 rue de la République",
        "city": "Lyon",
        "postal_code": "69002",
        "country": "FR",
        "language": "fr",
        "payment_days": 45,
    },
    {
        "name": THORNBURY,
        "email": "sales@thornbury.example",
        "tax_id": "GB980780684",
        "vat_id": "GB980780684",
        # In one text, as suppliers of before there were structured addresses have it.
        "address": "22 Canal Road\nLeeds LS1 4AP\nUnited Kingdom",
    },
)


# By code: the name, the code of the parent, and the role of the owner.
COST_CENTRES: dict[str, tuple[str, str | None, Role]] = {
    "1000": ("General", None, Role.ADMIN),
    "1100": ("Administration", "1000", Role.ADMIN),
    "1200": ("Facilities", "1000", Role.BUYER),
    "2000": ("Production", None, Role.APPROVER),
    "2100": ("Workshop", "2000", Role.APPROVER),
    "2400": ("Archive", "2000", Role.APPROVER),
    "3100": ("Design", None, Role.APPROVER),
    "4000": ("Marketing", None, Role.APPROVER),
}
# By code: the name, and the code of the parent.
CATEGORIES: dict[str, tuple[str, str | None]] = {
    "IT": ("Information technology", None),
    "IT-HW": ("Hardware", "IT"),
    "OFFICE": ("Office supplies and furniture", None),
    "WORK": ("Workshop and safety", None),
}


_NEITHER = ("on_empty_group_id", "escalate_after_hours", "escalate_to", "escalation_group_id")
# Who has to approve: any approver and, from an amount on, the owner of the cost centre, or else the manager.
POLICY: tuple[dict[str, Any], ...] = (
    {
        "stage": 1,
        "name": "Approver",
        "conditions": {},
        "approvers": [{"kind": "role_approver"}],
        "required_count": 1,
        "enforce_limit": True,
        "on_empty": "block",
        **dict.fromkeys(_NEITHER),
    },
    {
        "stage": 2,
        "name": "Cost centre from 5,000.00",
        "conditions": {"total_gte": "5000.00"},
        "approvers": [{"kind": "cost_centre_owner"}],
        "required_count": None,
        "on_empty": "requester_manager",
        **dict.fromkeys(_NEITHER),
    },
)


async def is_empty(session: AsyncSession) -> bool:
    """Whether the database has no organisations."""
    return await session.scalar(select(func.count()).select_from(Organisation)) == 0


async def seed(session: AsyncSession) -> None:
    """Create the demo organisation with a user for each role, its structure, suppliers in three countries, and requests
    and orders in every state. Raises EmailTaken if it exists."""
    organisation = await OrganisationService(session).create(**SETTINGS)
    await enter_tenant(session, organisation.id)
    await OrganisationService(session).allow_mail(Actor.command_line(organisation.id), per_day=MAILS_PER_DAY)
    users = UserService(session)
    members = {}
    for email, (name, role) in USERS.items():
        user = await users.create(email=email, name=name, organisation_id=organisation.id, roles=[role])
        members[role] = Actor(organisation.id, user.id, frozenset({role}))
    await AddressService(session, members[Role.BUYER]).create(**DELIVERY_ADDRESS)
    suppliers = SupplierService(session, members[Role.BUYER])
    ids = {values["name"]: (await suppliers.create(**values)).id for values in SUPPLIERS}
    await _add_structure(session, members)
    await _publish_policy(session, members[Role.ADMIN])
    await DemoDocuments(session, members, ids, all_listeners()).make()


async def _publish_policy(session: AsyncSession, admin: Actor) -> None:
    policies = PolicyService(session, admin)
    policy_id = await policies.create({}, document_type=DocumentType.PORF, copied_from=None, rules=POLICY)
    await policies.publish(policy_id, expected=None)


async def _add_structure(session: AsyncSession, members: dict[Role, Actor]) -> None:
    """Cost centres, categories, a team, an approval group; and where the requester belongs."""
    admin, approver, requester = members[Role.ADMIN], members[Role.APPROVER], members[Role.REQUESTER]
    cost_centres: EntryService[CostCentre] = EntryService(session, admin, COST_CENTRE)
    ids: dict[str | None, int | None] = {None: None}
    for code, (name, parent, owner) in COST_CENTRES.items():
        place = {"parent_id": ids[parent], "owner_id": members[owner].user_id}
        ids[code] = await cost_centres.create({"code": code, "name": name, **place})
    categories: EntryService[Category] = EntryService(session, admin, CATEGORY)
    category_ids: dict[str | None, int | None] = {None: None}
    for code, (name, parent) in CATEGORIES.items():
        values = {"code": code, "name": name, "parent_id": category_ids[parent]}
        category_ids[code] = await categories.create(values)
    teams: EntryService[Team] = EntryService(session, admin, TEAM)
    team_id = await teams.create({"name": "Design", "parent_id": None, "lead_id": approver.user_id})
    await ApprovalGroupService(session, admin).create(
        {"name": "IT board", "member_ids": sorted([admin.member_id, approver.member_id])}
    )
    place = {"team_id": team_id, "manager_id": approver.user_id, "default_cost_centre_id": ids["3100"]}
    members_of_demo = MemberService(session, admin, all_listeners())
    await members_of_demo.update(requester.member_id, expected=None, values=place)
