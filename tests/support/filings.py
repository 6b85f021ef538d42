"""Filings that wait to be asked for, as after a restore."""

from sqlalchemy import update

from po_api.db.database import enter_tenant
from po_api.purchase_orders.models import DocumentFiling
from support.organisations import TestOrganisation, ok


async def held_filing(organisation: TestOrganisation) -> int:
    """The id of a filing that an administrator can retry."""
    order = (await organisation.issued()).json()
    await ok(organisation.buyer.get(f"/purchase-orders/{order['id']}/document.pdf"))
    filings = (await ok(organisation.admin.get("/filings", params={"purchase_order_id": order["id"]}))).json()["items"]
    (filing,) = (each for each in filings if each["kind"] == "issued")
    held = update(DocumentFiling).where(DocumentFiling.id == filing["id"])
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        await session.execute(held.values(status="held", next_attempt_at=None))
    filing_id: int = filing["id"]
    return filing_id
