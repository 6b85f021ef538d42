"""The representation of an order by PostgreSQL equals that from its entities, the rules in Python and the schema."""

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from po_api.addresses.models import Address
from po_api.core.actor import Actor
from po_api.core.money import TaxRounding, totals
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.members.models import Member as MemberRow
from po_api.organisations.models import Organisation
from po_api.porfs.amounts import priced
from po_api.porfs.models import Porf, PorfLine
from po_api.porfs.schemas import TaxRead
from po_api.purchase_orders.domain import MACHINE, PurchaseOrderFacts, PurchaseOrderStatus, warnings_about
from po_api.purchase_orders.models import Allocation, PurchaseOrder
from po_api.purchase_orders.schemas import (
    BuyerRead,
    OrderAddressRead,
    OrderSupplierRead,
    PurchaseOrderLineRead,
    PurchaseOrderRead,
    PurchaseOrderSummary,
)
from po_api.suppliers.models import Supplier
from po_api.web.schemas import Schema
from support.organisations import Member, TestOrganisation, created, new_organisation, ok, perform
from support.pages import as_listed

LINES = [
    {"description": 'Lamp "漢" \\ \n<b>é😀', "quantity": "10.5", "unit_price": "24.9005", "tax_rate": "19"},
    {"description": "x", "quantity": "1", "unit_price": "0", "discount_percent": "12.5", "sku": "A/1"},
    {"description": "y", "quantity": "3", "unit_price": "7", "tax_rate": "7.5", "needed_by": "2031-02-28"},
]


_ROUNDINGS = [*itertools.product(TaxRounding, ["EUR", "JPY", "TND"])]


# Each way of rounding, and currencies with two digits, none and three.
@pytest.mark.heavy
@pytest.mark.parametrize(
    ("rounding", "currency"),
    [*_ROUNDINGS[::2], *(pytest.param(*pair, marks=pytest.mark.exhaustive) for pair in _ROUNDINGS[1::2])],
)
async def test_the_json_of_an_order_is_that_of_its_schema(app: Any, client: Any, rounding: str, currency: str) -> None:
    organisation = await new_organisation(app, client, tax_rounding=rounding)
    approved = await organisation.approved(currency=currency, lines=LINES)
    order = await created(organisation.convert(approved, terms="30 days", delivery_address="Quai 1\n75013 Paris"))
    await _compare(organisation, order.json()["id"])
    for kind in ("delivery", "billing"):
        body = {"kind": kind, "name": f'The "{kind}"', "lines": "漢\n2", "country": "FR", "is_default": True}
        made = await created(organisation.buyer.post("/addresses", json=body))
        if kind == "delivery":
            address = {"delivery_address": None, "delivery_address_id": made.json()["id"]}
            order = await ok(organisation.buyer.patch(f"/purchase-orders/{order.json()['id']}", etag="*", json=address))
    await _compare(organisation, order.json()["id"])
    await organisation.set_supplier(active=False)
    await _compare(organisation, order.json()["id"])
    await organisation.set_supplier(active=True)
    await organisation.change_supplier(address='Quai "2"\n75013 Paris', email="orders@supplier.example")
    await _compare(organisation, order.json()["id"])
    await organisation.change_supplier(name="Renamed")
    await _compare(organisation, order.json()["id"])
    await organisation.change_supplier(name="Müller & Söhne GmbH")
    issued = await perform(organisation.buyer, order, "issue")
    await _compare(organisation, order.json()["id"])
    await perform(organisation.buyer, issued, "cancel")
    await _compare(organisation, order.json()["id"])


async def _compare(organisation: TestOrganisation, order_id: int) -> None:
    for reader in (
        organisation.requester,
        organisation.approver,
        organisation.buyer,
        organisation.admin,
        organisation.auditor,
    ):
        answer = await ok(reader.get(f"/purchase-orders/{order_id}"))
        assert answer.text == (await _plainly(organisation, reader, order_id)).model_dump_json()
        listed = await ok(reader.get("/purchase-orders"))
        summary = {name: answer.json()[name] for name in PurchaseOrderSummary.model_fields}
        assert listed.json() == {"items": [as_listed(summary)], "next_cursor": None, "has_more": False}


async def _plainly(organisation: TestOrganisation, reader: Member, order_id: int) -> PurchaseOrderRead:
    async with organisation.database.sessions() as session:
        await enter_tenant(session, organisation.organisation_id)
        statement = select(PurchaseOrder).options(selectinload(PurchaseOrder.lines))
        order = (await session.scalars(statement.where(PurchaseOrder.id == order_id))).one()
        supplier = await session.get_one(Supplier, (order.organisation_id, order.supplier_id))
        is_draft = order.status == PurchaseOrderStatus.DRAFT
        maker = await session.get_one(MemberRow, (order.organisation_id, order.created_by_id))
        member = await session.get_one(MemberRow, (order.organisation_id, reader.user_id))
        sources = select(Allocation, PorfLine, Porf).where(
            *(entity.organisation_id == order.organisation_id for entity in (Allocation, PorfLine, Porf)),
            Allocation.porf_line_id == PorfLine.id,
            Porf.id == PorfLine.porf_id,
        )
        taken = {row.Allocation.purchase_order_line_id: row for row in await session.execute(sources)}
        parties = await _parties(session, order, supplier) if is_draft else json.loads(order.parties or "")
    actor = Actor(order.organisation_id, member.user_id, frozenset(Role(role) for role in member.roles))
    has_changed = (order.supplier_name, order.supplier_tax_id) != (supplier.name, supplier.tax_id)
    status = PurchaseOrderStatus(order.status)
    facts = PurchaseOrderFacts(
        status, supplier.is_active, is_draft and has_changed, order.currency, False, exceeds_approved=False
    )
    refusals = MACHINE.allowed_actions(facts, actor)
    taxes = totals(
        map(priced, order.lines), currency=order.currency, tax_rounding=TaxRounding(order.tax_rounding)
    ).taxes
    names = set(PurchaseOrderRead.model_fields) & set(PurchaseOrder.__table__.columns.keys())
    contact = supplier if is_draft else None
    return PurchaseOrderRead.model_validate(
        {
            **{name: getattr(order, name) for name in names},
            **({"supplier_email": contact.email, "supplier_address": contact.address} if contact else {}),
            "supplier_is_frozen": not is_draft,
            "delivery_status": "not_sent",
            "created_by_name": maker.name,
            "line_count": len(order.lines),
            "is_partial": False,
            "allowed_actions": {
                str(action): {"allowed": refused is None, "reason": refused and refused.code}
                for action, refused in refusals.items()
            },
            "taxes": [TaxRead.model_validate(tax) for tax in taxes],
            "lines": [
                _line(line, taken[line.id], order) for line in sorted(order.lines, key=lambda line: line.position)
            ],
            # No worker runs: what was issued or cancelled is due.
            "document_status": None if order.number is None else "due",
            "document_attempts": 0,
            "document_error": None,
            "parties": parties,
            "filed_at": None,
            "filed_url": None,
            "warnings": warnings_about(
                PurchaseOrderStatus(order.status),
                tax_id=order.supplier_tax_id,
                address=contact.address if contact else order.supplier_address,
                currency=order.currency,
                supplier=parties["supplier"],
            ),
        }
    )


async def _parties(session: AsyncSession, order: PurchaseOrder, supplier: Supplier) -> dict[str, Any]:
    """The parties of a draft, as they are now."""
    buyer = await session.get_one(Organisation, order.organisation_id)
    mine = Address.organisation_id == order.organisation_id
    chosen = {"delivery": Address.id == order.delivery_address_id, "billing": Address.kind == "billing"}
    addresses = {
        name: (await session.scalars(select(Address).where(mine, which))).first() for name, which in chosen.items()
    }
    schemas: dict[str, type[Schema]] = {
        "buyer": BuyerRead,
        "supplier": OrderSupplierRead,
        "delivery": OrderAddressRead,
        "billing": OrderAddressRead,
    }
    found = {"buyer": buyer, "supplier": supplier, **addresses}
    return {name: row and schemas[name].model_validate(row).model_dump(mode="json") for name, row in found.items()}


def _line(line: Any, taken: Any, order: PurchaseOrder) -> PurchaseOrderLineRead:
    names = set(PurchaseOrderLineRead.model_fields) & set(type(line).__table__.columns.keys())
    released: Decimal = taken.Allocation.released_quantity
    return PurchaseOrderLineRead.model_validate(
        {
            **{name: getattr(line, name) for name in names},
            "porf_id": taken.Porf.id,
            "porf_number": taken.Porf.number,
            "porf_title": taken.Porf.title,
            "porf_line_id": taken.PorfLine.id,
            "released_quantity": released,
            # The order is in the base currency.
            "base_net": None if order.base_net is None else line.net,
        }
    )
