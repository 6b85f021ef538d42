"""Joining: an invitation is accepted by the first sign-in, and an account permanently belongs to one identity."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from po_api.audit.events import AuditEvent
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.operations.invariants import ADDRESS_CONFLICT
from po_api.users.models import User
from support.identity_provider import Provider
from support.organisations import Member, Tenant, created, new_member, new_tenant, ok, refused
from support.sign_in import bearing, exchange, sign_in, there_and_back, told

INVITATION = {"name": "Ada Lovelace", "roles": ["approver"], "approval_limit": "500.00"}


@pytest.fixture
async def admin(tenant: Tenant) -> Member:
    return await tenant.member(Role.ADMIN)


def _address(admin: Member, name: str = "ada") -> str:
    """An address that no other test uses."""
    return f"{name}{admin.user_id}@joining.example"


async def _me(browser: httpx.AsyncClient) -> dict[str, Any]:
    me: dict[str, Any] = (await ok(browser.get("/users/me", headers=bearing(await sign_in(browser))))).json()
    return me


async def test_an_invitation_is_taken_up_at_the_first_sign_in(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    email = _address(admin)
    invited = (await created(admin.post("/users", json={"email": email, **INVITATION}))).json()
    assert invited["last_login"] is None
    provider.be(email.upper(), sub=f"sub-{email}", name="Ada at the provider")
    me = await _me(browser)
    assert (me["id"], me["organisation_id"], me["name"]) == (invited["id"], tenant.organisation_id, "Ada Lovelace")
    assert (me["roles"], me["approval_limit"]) == (["approver"], "500.00")
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        actions = await session.scalars(select(AuditEvent.action).where(AuditEvent.actor_id == me["id"]))
        assert list(actions) == ["user.identify"]


async def test_the_account_is_known_by_its_subject_from_then_on(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    await created(admin.post("/users", json={"email": email, **INVITATION}))
    provider.be(email, sub=f"sub-{email}")
    first = await _me(browser)
    provider.be(_address(admin, "married"), sub=f"sub-{email}")
    again = await _me(browser)
    assert (again["id"], again["email"]) == (first["id"], email)


async def test_another_account_with_the_same_address_is_refused(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    """An address may be reassigned to another person, who must not get the account."""
    email = _address(admin)
    await created(admin.post("/users", json={"email": email, **INVITATION}))
    provider.be(email, sub=f"sub-{email}")
    await _me(browser)
    provider.be(email, sub=f"other-{email}")
    assert told(await there_and_back(browser))["error"] == "identity_mismatch"
    await refused(browser.post("/sessions", json={"id_token": provider.id_token()}), 409, "identity_mismatch")


async def test_an_address_that_is_not_verified_takes_up_no_invitation(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    await created(admin.post("/users", json={"email": email, **INVITATION}))
    provider.be(email)
    provider.claims = {"email_verified": False}
    assert told(await there_and_back(browser))["error"] == "email_not_verified"
    assert (await ok(admin.get("/users", params={"email": email}))).json()["items"][0]["last_login"] is None


async def test_who_is_unknown_may_found_an_organisation_and_is_its_admin(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    provider.be(_address(admin, "founder"), name="Fay Founder")
    tokens = await sign_in(browser)
    me = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()
    assert (me["organisation_id"], me["name"], me["roles"]) == (None, "Fay Founder", ["requester"])
    await refused(browser.get("/porfs", headers=bearing(tokens)), 403, "no_organisation")
    founded = await created(browser.post("/organisations", json={"name": "Founded"}, headers=bearing(tokens)))
    me = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()
    assert me["organisation_id"] == founded.json()["id"]
    assert "admin" in me["roles"]


@pytest.mark.parametrize("name", [None, "", 7, "a\x07b", "x" * 1000])
async def test_names_of_any_kind_do_not_prevent_a_sign_in(
    browser: httpx.AsyncClient, provider: Provider, admin: Member, name: Any
) -> None:
    provider.be(_address(admin, "strange"), name=name)
    assert len((await _me(browser))["name"]) <= 255


async def test_who_signs_in_before_being_invited_joins_with_the_invitation(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    email = _address(admin, "early")
    provider.be(email, name="Early Bird")
    tokens = await sign_in(browser)
    before = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()
    invited = (await created(admin.post("/users", json={"email": email.upper(), **INVITATION}))).json()
    assert (invited["id"], invited["name"], invited["version"]) == (before["id"], "Early Bird", before["version"] + 1)
    me = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()
    assert (me["organisation_id"], me["roles"]) == (tenant.organisation_id, ["approver"])
    await ok(browser.get("/porfs", headers=bearing(tokens)))
    await refused(admin.post("/users", json={"email": email, **INVITATION}), 409, "email_taken")


async def test_an_invitation_does_not_take_members_of_other_organisations(
    admin: Member, app: FastAPI, client: httpx.AsyncClient
) -> None:
    other = await (await new_tenant(app, client)).member()
    operator = await new_member(app, client, None, [], is_operator=True)
    for taken in (other, operator):
        await refused(admin.post("/users", json={"email": taken.email, **INVITATION}), 409, "email_taken")


async def test_an_invitation_races_with_the_founding_of_an_organisation(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    email = _address(admin, "torn")
    provider.be(email)
    headers = bearing(await sign_in(browser))
    answers = await asyncio.gather(
        admin.post("/users", json={"email": email, **INVITATION}),
        browser.post("/organisations", json={"name": "Founded"}, headers=headers),
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_two_first_sign_ins_at_once_make_one_user(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    provider.be(_address(admin, "twice"))
    tokens = [provider.id_token() for _ in range(10)]
    answers = await asyncio.gather(*(browser.post("/sessions", json={"id_token": token}) for token in tokens))
    assert {answer.status_code for answer in answers} == {201}
    users = {(await ok(browser.get("/users/me", headers=bearing(answer.json())))).json()["id"] for answer in answers}
    assert len(users) == 1


# Addresses that look alike

# Groups of spellings of one address; the groups are different persons.
PERSONS = {
    "a domain with ss": ["ada{}@strasse.example", "ADA{}@STRASSE.example"],
    "a domain with ß": ["ada{}@straße.example", "Ada{}@Straße.EXAMPLE", "ada{}@xn--strae-oqa.example"],
    "ß": ["strauß{}@joining.example", "STRAUß{}@joining.example"],
    "ss": ["strauss{}@joining.example", "STRAUSS{}@Joining.Example"],
    "long s": ["ſam{}@joining.example"],
    "s": ["sam{}@joining.example"],
    "a final sigma": ["αςx{}@joining.example"],
    "a sigma": ["ασx{}@joining.example", "ΑΣx{}@joining.example"],
    "the Kelvin sign, in NFC a K": ["kim{}@joining.example", "\u212aim{}@joining.example"],
    "composed": ["zoë{}@joining.example", "zoe\u0308{}@joining.example", "ZOË{}@joining.example"],
}


async def test_who_signs_in_gets_the_invitation_of_their_own_address_only(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    """The attack: `ada@strasse.example` is invited, and whoever owns `straße.example` takes the account."""
    number = admin.user_id
    invited = {}
    for person, (first, *_) in PERSONS.items():
        body = {"email": first.format(number), **INVITATION}
        invited[person] = (await created(admin.post("/users", json=body))).json()
    assert invited["ß"]["email"] == f"strauß{number}@joining.example"
    for person, spellings in PERSONS.items():
        for spelling in spellings:
            provider.be(spelling.format(number), sub=f"{list(PERSONS).index(person)}-{number}")
            assert (await _me(browser))["id"] == invited[person]["id"], spelling
            # A look-up finds the same.
            found = await ok(admin.get("/users", params={"email": spelling.format(number)}))
            assert [item["id"] for item in found.json()["items"]] == [invited[person]["id"]]


@pytest.mark.parametrize(
    ("invited", "signs_in"),
    [
        ("ada{}@strasse.example", "ada{}@straße.example"),
        ("ada{}@strasse.example", "ada{}@xn--strae-oqa.example"),
        ("strauss{}@joining.example", "strauß{}@joining.example"),
        ("sam{}@joining.example", "ſam{}@joining.example"),
    ],
)
async def test_a_similar_address_is_another_person(
    browser: httpx.AsyncClient, provider: Provider, admin: Member, invited: str, signs_in: str
) -> None:
    email = invited.format(admin.user_id)
    made = (await created(admin.post("/users", json={"email": email, **INVITATION}))).json()
    provider.be(signs_in.format(admin.user_id), sub=f"similar-{admin.user_id}")
    me = await _me(browser)
    assert me["id"] != made["id"]
    assert (me["organisation_id"], me["roles"]) == (None, ["requester"])


async def test_an_address_that_two_users_have_signs_nobody_in(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    """Revision 015 found another user with the address: nobody knows which of them is meant."""
    email = _address(admin)
    invited = (await created(admin.post("/users", json={"email": email, **INVITATION}))).json()
    async with tenant.database.sessions.begin() as session:
        closed = {"identity_issuer": ADDRESS_CONFLICT, "google_id": str(invited["id"])}
        await session.execute(update(User).where(User.id == invited["id"]).values(closed))
    provider.be(email)
    assert told(await there_and_back(browser))["error"] == "identity_mismatch"
    await refused(browser.post("/sessions", json={"id_token": provider.id_token()}), 409, "identity_mismatch")


async def test_a_deactivated_user_is_told_so_and_stays_out(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    invited = (await created(admin.post("/users", json={"email": email, **INVITATION}))).json()
    provider.be(email)
    await _me(browser)
    await ok(admin.post(f"/users/{invited['id']}/deactivate", etag="*"))
    assert told(await there_and_back(browser))["error"] == "user_deactivated"
    await refused(browser.post("/sessions", json={"id_token": provider.id_token()}), 403, "user_deactivated")


async def test_who_was_deactivated_before_the_first_sign_in_gets_no_account(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    invited = (await created(admin.post("/users", json={"email": email, **INVITATION}))).json()
    await ok(admin.post(f"/users/{invited['id']}/deactivate", etag="*"))
    provider.be(email, sub=f"first-{email}")
    assert told(await there_and_back(browser))["error"] == "user_deactivated"
    await ok(admin.post(f"/users/{invited['id']}/activate", etag="*"))
    provider.be(email, sub=f"second-{email}")
    assert (await _me(browser))["id"] == invited["id"]


async def test_a_user_deactivated_between_code_and_exchange_stays_out(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    invited = (await created(admin.post("/users", json={"email": email, **INVITATION}))).json()
    provider.be(email)
    code = told(await there_and_back(browser))["sign_in_code"]
    await ok(admin.post(f"/users/{invited['id']}/deactivate", etag="*"))
    await refused(exchange(browser, code), 403, "user_deactivated")
