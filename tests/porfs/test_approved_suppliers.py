"""An approval covers the supplier's name and tax id: nobody else gets the order."""

import asyncio
import hashlib
import json
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from po_api.db.database import enter_tenant
from po_api.suppliers.identity import digest_of, identity_hash
from po_api.suppliers.models import Supplier
from po_api.suppliers.projections import keeps_identity, supplier_hash
from support.invariants import check_connection
from support.organisations import LINE, TestOrganisation, act, again, created, ok, perform, refused
from support.pages import as_listed

_SUPPLIER = Supplier.__table__.alias("named")
CHANGES: list[tuple[dict[str, str | None], list[str], str]] = [
    ({"name": "Mallory Ltd"}, ["/name"], "name"),
    ({"tax_id": "GB999999999"}, ["/tax_id"], "tax id"),
    ({"tax_id": None}, ["/tax_id"], "tax id"),
    ({"name": "Mallory Ltd", "tax_id": "GB999999999"}, ["/name", "/tax_id"], "name and tax id"),
    ({"legal_name": "Mallory Limited"}, ["/legal_name"], "legal name"),
    ({"vat_id": "FR40303265045"}, ["/vat_id"], "VAT id"),
    (
        {"company_scheme": "0002", "company_id": "1"},
        ["/company_scheme", "/company_id"],
        "company scheme and company id",
    ),
    (
        {"endpoint_scheme": "0088", "endpoint_id": "5790000436101"},
        ["/endpoint_scheme", "/endpoint_id"],
        "endpoint scheme and endpoint id",
    ),
]


@pytest.fixture
async def organisation(organisation: TestOrganisation) -> TestOrganisation:
    """The common one, whose supplier has a tax id."""
    await change(organisation, tax_id="DE123456789")
    return organisation


async def change(organisation: TestOrganisation, **fields: Any) -> httpx.Response:
    """Change the supplier."""
    return await ok(organisation.buyer.patch(f"/suppliers/{organisation.supplier_id}", etag="*", json=fields))


async def reason(organisation: TestOrganisation, porf: httpx.Response) -> str | None:
    """The reason why the request cannot be converted, which the list shows as well."""
    shown = (await again(organisation.buyer, porf)).json()
    (listed,) = [
        item for item in (await ok(organisation.buyer.get("/porfs"))).json()["items"] if item["id"] == shown["id"]
    ]
    assert listed["allowed_actions"] == as_listed(shown)["allowed_actions"]
    found: str | None = shown["allowed_actions"]["convert"]["reason"]
    return found


async def approved_before_the_upgrade(owner: asyncpg.Connection, porf: httpx.Response) -> None:
    """What the version before revision 028 has stored of an approval: a hash of these fields."""
    header = ("title", "justification", "cost_centre", "needed_by", "currency", "tax_rounding", "supplier_id")
    line = (
        "position",
        "description",
        "sku",
        "quantity",
        "unit",
        "unit_price",
        "discount_percent",
        "tax_rate",
        "needed_by",
    )
    shown = porf.json()
    content = {
        "porf": [shown[name] for name in header],
        "lines": [[item[name] for name in line] for item in shown["lines"]],
    }
    digest = hashlib.sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
    await owner.execute(
        "UPDATE approval_decisions SET content_hash = $2, hash_version = 1, supplier_hash = NULL WHERE porf_id = $1",
        *(shown["id"], digest),
    )
    await owner.execute("UPDATE porfs SET over_order_percent = NULL, maximum_total = NULL WHERE id = $1", shown["id"])


@pytest.mark.parametrize(("changes", "pointers", "named"), CHANGES)
async def test_a_request_whose_suppliers_identity_changed_after_the_approval_is_not_converted(
    organisation: TestOrganisation, changes: dict[str, str | None], pointers: list[str], named: str
) -> None:
    porf = await organisation.approved()
    await change(organisation, **changes)
    assert await reason(organisation, porf) == "supplier_changed"
    several = {"porf_ids": [porf.json()["id"]]}
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    line = {"line_id": porf.json()["lines"][0]["id"], "quantity": "1"}
    for params in ({}, {"dry_run": "true"}):
        for attempt in (
            organisation.buyer.post(path, etag=porf.headers["ETag"], params=params),
            organisation.buyer.post(path, etag=porf.headers["ETag"], params=params, json={"lines": [line]}),
            organisation.admin.post("/purchase-orders", params=params, json=several),
        ):
            problem = await refused(attempt, 409, "supplier_changed")
            assert [(error["location"], error["pointer"]) for error in problem["errors"]] == [
                ("supplier", pointer) for pointer in pointers
            ]
            assert problem["detail"] == f"{porf.json()['number']}: the supplier's {named} changed after the approval"
    # Nothing was taken.
    assert (await again(organisation.buyer, porf)).json()["lines"] == porf.json()["lines"]


@pytest.mark.parametrize(
    "fields", [{"email": "new@supplier.example"}, {"address": "1 New Street"}, {"email": None, "address": None}]
)
async def test_contact_data_may_change_after_the_approval(
    organisation: TestOrganisation, fields: dict[str, Any]
) -> None:
    porf = await organisation.approved()
    await change(organisation, **fields)
    assert await reason(organisation, porf) is None
    order = await created(organisation.convert(porf))
    assert {name: order.json()[f"supplier_{name}"] for name in fields} == fields
    await ok(perform(organisation.buyer, order, "issue"))


async def test_a_supplier_that_has_its_identity_again_gets_the_order(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    before = (await ok(organisation.buyer.get(f"/suppliers/{organisation.supplier_id}"))).json()
    await change(organisation, name="Mallory Ltd", tax_id=None)
    await refused(organisation.convert(porf), 409, "supplier_changed")
    await change(organisation, name=before["name"], tax_id=before["tax_id"])
    assert await reason(organisation, porf) is None
    order = await created(organisation.convert(porf))
    assert order.json()["supplier_name"] == before["name"]


async def test_another_spelling_is_another_name(organisation: TestOrganisation) -> None:
    """Approved is what was shown, although both spellings cannot be names of two suppliers."""
    porf = await organisation.approved()
    await change(organisation, name="MÜLLER & SÖHNE GMBH")
    await refused(organisation.convert(porf), 409, "supplier_changed")


async def test_a_supplier_that_changed_before_the_approval_is_the_approved_one(organisation: TestOrganisation) -> None:
    pending = await organisation.pending()
    await change(organisation, name="Renamed Ltd")
    porf = await act(organisation.approver, pending, "approve")
    assert porf.json()["supplier_name"] == "Renamed Ltd"
    order = await created(organisation.convert(porf))
    assert order.json()["supplier_name"] == "Renamed Ltd"


async def test_after_another_approval_the_request_is_convertible(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    await change(organisation, name="Renamed Ltd")
    draft = await act(organisation.buyer, await again(organisation.buyer, porf), "reopen")
    assert draft.json()["allowed_actions"]["convert"]["reason"] == "invalid_transition"
    porf = await act(organisation.approver, await act(organisation.requester, draft, "submit"), "approve")
    assert await reason(organisation, porf) is None
    assert (await created(organisation.convert(porf))).json()["supplier_name"] == "Renamed Ltd"


async def test_of_several_requests_the_one_is_named_that_was_approved_with_another_supplier(
    organisation: TestOrganisation,
) -> None:
    before = await organisation.approved()
    await change(organisation, tax_id="DE999999999")
    after = await organisation.approved()
    body = {"porf_ids": [after.json()["id"], before.json()["id"]]}
    problem = await refused(organisation.buyer.post("/purchase-orders", json=body), 409, "supplier_changed")
    assert problem["detail"].startswith(before.json()["number"])
    await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": [after.json()["id"]]}))


async def test_what_is_left_of_a_request_is_not_ordered_from_a_changed_supplier(organisation: TestOrganisation) -> None:
    porf = await organisation.in_status("partially_ordered")
    await change(organisation, name="Mallory Ltd")
    assert await reason(organisation, porf) == "supplier_changed"
    await refused(organisation.convert(porf), 409, "supplier_changed")
    assert (await act(organisation.buyer, porf, "close")).json()["status"] == "closed"


async def test_without_an_approved_supplier_the_buyer_chooses(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(supplier_id=None)
    await change(organisation, name="Renamed Ltd")
    assert await reason(organisation, porf) is None
    order = await created(organisation.convert(porf, supplier_id=organisation.supplier_id))
    assert order.json()["supplier_name"] == "Renamed Ltd"


@pytest.mark.parametrize("is_renamed", [False, True])
async def test_an_approval_of_before_the_upgrade_stays_convertible(
    organisation: TestOrganisation, owner: asyncpg.Connection, is_renamed: bool
) -> None:
    porf = await organisation.approved(lines=[LINE, LINE | {"sku": "L-1", "needed_by": "2030-01-31"}])
    await approved_before_the_upgrade(owner, porf)
    if is_renamed:
        await change(organisation, name="Renamed Ltd")
    assert await reason(organisation, porf) is None
    shown = (await again(organisation.buyer, porf)).json()
    assert (shown["over_order_percent"], shown["maximum_total"]) == ("0", porf.json()["total"])
    await created(organisation.convert(porf))
    await check_connection(owner, organisation.organisation_id)


async def test_other_content_than_was_approved_before_the_upgrade_is_not_ordered(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    porf = await organisation.approved()
    await approved_before_the_upgrade(owner, porf)
    await owner.execute("UPDATE porf_lines SET sku = 'X' WHERE porf_id = $1", porf.json()["id"])
    await refused(organisation.convert(porf), 409, "approval_mismatch")


async def test_an_approval_by_a_later_version_is_not_comparable(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    porf = await organisation.approved()
    await owner.execute("UPDATE approval_decisions SET hash_version = 99 WHERE porf_id = $1", porf.json()["id"])
    await refused(organisation.convert(porf), 409, "approval_mismatch")


async def test_a_decision_keeps_the_version_of_its_hash_and_the_suppliers_identity(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    porf, without = await organisation.approved(), await organisation.approved(supplier_id=None)
    rows = await owner.fetch(
        "SELECT porf_id, hash_version, supplier_hash FROM approval_decisions WHERE organisation_id = $1 ORDER BY id",
        organisation.organisation_id,
    )
    digest = digest_of("Müller & Söhne GmbH", "DE123456789", *[None] * 6)
    assert [tuple(row) for row in rows] == [(porf.json()["id"], 4, digest), (without.json()["id"], 4, None)]


# Draft orders


@pytest.mark.parametrize(("changes", "pointers", "named"), CHANGES)
async def test_a_draft_order_whose_suppliers_identity_changed_is_not_issued(
    organisation: TestOrganisation, changes: dict[str, str | None], pointers: list[str], named: str
) -> None:
    order = await organisation.ordered()
    await change(organisation, **changes)
    shown = await again(organisation.buyer, order)
    assert shown.json()["allowed_actions"]["issue"]["reason"] == "supplier_changed"
    (listed,) = (await ok(organisation.buyer.get("/purchase-orders"))).json()["items"]
    assert listed["allowed_actions"] == as_listed(shown.json())["allowed_actions"]
    for options in ({}, {"params": {"dry_run": "true"}}):
        problem = await refused(perform(organisation.buyer, order, "issue", **options), 409, "supplier_changed")
        assert [error["pointer"] for error in problem["errors"]] == pointers
        assert f"the supplier's {named} changed after the creation of the order" in problem["detail"]
    # The order's own data are those that were approved.
    assert (shown.json()["supplier_name"], shown.json()["supplier_tax_id"]) == ("Müller & Söhne GmbH", "DE123456789")
    await ok(perform(organisation.buyer, order, "cancel"))
    porf_id = order.json()["lines"][0]["porf_id"]
    assert (await ok(organisation.buyer.get(f"/porfs/{porf_id}"))).json()["status"] == "approved"


async def test_a_draft_order_is_issued_once_its_supplier_has_its_identity_again(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    await change(organisation, name="Mallory Ltd")
    await refused(perform(organisation.buyer, order, "issue"), 409, "supplier_changed")
    await change(organisation, name="Müller & Söhne GmbH")
    issued = await ok(perform(organisation.buyer, order, "issue"))
    await change(organisation, name="Mallory Ltd")
    await ok(perform(organisation.buyer, issued, "close"))


async def test_converting_and_renaming_at_once(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    """However they interleave, no order is made out to a name that was not approved."""
    for turn in range(10):
        porf = await organisation.approved()
        renaming = organisation.buyer.patch(
            f"/suppliers/{organisation.supplier_id}", etag="*", json={"name": f"Name {turn}"}
        )
        converted, renamed = await asyncio.gather(organisation.convert(porf), renaming)
        assert renamed.status_code == 200
        if converted.status_code == 409:
            assert converted.json()["code"] == "supplier_changed"
        else:
            assert converted.json()["supplier_name"] == porf.json()["supplier_name"]
            await refused(perform(organisation.buyer, converted, "issue"), 409, "supplier_changed")
    await check_connection(owner, organisation.organisation_id)


_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
# The columns of the identity that have no constraint of their own.
_COMPARED = ("name", "tax_id", "legal_name", "vat_id", "company_id")


@pytest.mark.heavy
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=_TEXTS.filter(bool),
    others=st.lists(st.none() | _TEXTS, min_size=len(_COMPARED) - 1, max_size=len(_COMPARED) - 1),
)
async def test_digests_of_the_database_are_those_of_python(
    organisation: TestOrganisation, owner: asyncpg.Connection, name: str, others: list[str | None]
) -> None:
    supplier_id, values = organisation.supplier_id, [name, *others]
    assignments = ", ".join(f"{column} = ${n}" for n, column in enumerate(_COMPARED, start=2))
    await owner.execute(f"UPDATE suppliers SET {assignments} WHERE id = $1", supplier_id, *values)
    supplier = Supplier(**dict(zip(_COMPARED, values, strict=True)))
    short, other = digest_of(name, others[0]), digest_of(name + "x")
    async with organisation.database.sessions() as session:
        await enter_tenant(session, organisation.organisation_id)
        statement = select(
            supplier_hash(_SUPPLIER.c.id),
            *(keeps_identity(_SUPPLIER.c.id, literal(digest)) for digest in (identity_hash(supplier), short, other)),
        ).where(_SUPPLIER.c.organisation_id == organisation.organisation_id, _SUPPLIER.c.id == supplier_id)
        found = (await session.execute(statement, {"organisation_id": organisation.organisation_id})).one()
    assert found == (identity_hash(supplier), True, True, False)
