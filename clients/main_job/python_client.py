"""The main job with the client that openapi-python-client generates."""

import os
import sys
from io import BytesIO
from uuid import uuid4

from po_api_client import AuthenticatedClient
from po_api_client.api.porfs import approve_porf, convert_porf, get_porf, import_porf, list_porfs, submit_porf
from po_api_client.api.purchase_orders import get_purchase_order_document, issue_purchase_order
from po_api_client.api.suppliers import list_suppliers
from po_api_client.models import (
    ActionNote,
    ConvertPorf,
    ImportPorfBody,
    PorfPage,
    PorfRead,
    PorfStatus,
    Problem,
    PurchaseOrderRead,
    SupplierPage,
)
from po_api_client.types import File

# 1.25 × (1 + 2 + … + 200), and 20 % of it
LINES = "\n".join(["description,quantity,unit_price,tax_rate", *(f"Article {n},{n},1.25,20" for n in range(1, 201))])
TOTAL = "30150.00"


def client_of(user: str) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=os.environ["API_URL"], token=os.environ[f"{user}_TOKEN"])


def key() -> str:
    return str(uuid4())


def main() -> None:
    requester, approver, buyer = client_of("REQUESTER"), client_of("APPROVER"), client_of("BUYER")

    body = ImportPorfBody(title="Office supplies", file=File(BytesIO(LINES.encode()), "lines.csv", "text/csv"))
    raised = import_porf.sync_detailed(client=requester, body=body, idempotency_key=key())
    assert isinstance(raised.parsed, PorfRead), raised.content
    assert raised.parsed.total == TOTAL

    porf_id = raised.parsed.id
    submitted = submit_porf.sync_detailed(
        porf_id,
        client=requester,
        body=ActionNote(comment="For the new office"),
        if_match=raised.headers["ETag"],
        idempotency_key=key(),
    )
    assert isinstance(submitted.parsed, PorfRead), submitted.content
    assert submitted.parsed.status is PorfStatus.PENDING

    again = submit_porf.sync_detailed(
        porf_id, client=requester, if_match=submitted.headers["ETag"], idempotency_key=key()
    )
    assert isinstance(again.parsed, Problem), again.content
    assert (again.parsed.status, again.parsed.code) == (409, "invalid_transition")

    inbox = list_porfs.sync(client=approver, waiting_for_me=True, status=[PorfStatus.PENDING])
    assert isinstance(inbox, PorfPage), inbox
    assert porf_id in [item.id for item in inbox.items]
    waiting = get_porf.sync_detailed(porf_id, client=approver)
    approved = approve_porf.sync_detailed(
        porf_id, client=approver, if_match=waiting.headers["ETag"], idempotency_key=key()
    )
    assert isinstance(approved.parsed, PorfRead), approved.content
    assert approved.parsed.status is PorfStatus.APPROVED

    suppliers = list_suppliers.sync(client=buyer, is_active=True, limit=1)
    assert isinstance(suppliers, SupplierPage), suppliers
    converted = convert_porf.sync_detailed(
        porf_id,
        client=buyer,
        body=ConvertPorf(supplier_id=suppliers.items[0].id),
        if_match=approved.headers["ETag"],
        idempotency_key=key(),
    )
    assert isinstance(converted.parsed, PurchaseOrderRead), converted.content

    order_id = converted.parsed.id
    issued = issue_purchase_order.sync_detailed(
        order_id, client=buyer, if_match=converted.headers["ETag"], idempotency_key=key()
    )
    assert isinstance(issued.parsed, PurchaseOrderRead), issued.content
    assert str(issued.parsed.number).startswith("PO-")
    assert issued.parsed.total == TOTAL

    document = get_purchase_order_document.sync(order_id, client=buyer)
    assert isinstance(document, File), document
    content = document.payload.read()
    assert content.startswith(b"%PDF")
    sys.stdout.write(f"{issued.parsed.number}: {TOTAL}, a document of {len(content)} bytes\n")


if __name__ == "__main__":
    main()
