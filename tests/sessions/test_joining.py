"""Joining: a person who signs in sees the invitations of their verified address, and decides.

An account permanently belongs to one identity.
"""

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
from po_api.users.service import UserService
from support.identity_provider import Provider
from support.organisations import Member, Tenant, created, new_tenant, ok, refused, set_active
from support.repetition import in_turns
from support.sign_in import app_with, bearing, browser_at, exchange, sign_in, there_and_back, told

RIGHTS = {"roles": ["approver"], "approval_limit": "500.00"}
DOMAIN = "joining.example"
Headers = dict[str, str]


@pytest.fixture
async def admin(tenant: Tenant) -> Member:
    return await tenant.member(Role.ADMIN)


def _address(admin: Member, name: str = "ada") -> str:
    """An address that no other test uses."""
    return f"{name}{admin.user_id}@{DOMAIN}"


async def _invite(admin: Member, email: str) -> int:
    invited = await created(admin.post("/invitations", json={"email": email, **RIGHTS}))
    invitation_id: int = invited.json()["id"]
    return invitation_id


async def _me(browser: httpx.AsyncClient, headers: Headers) -> dict[str, Any]:
    me: dict[str, Any] = (await ok(browser.get("/users/me", headers=headers))).json()
    return me


async def _signed_in(browser: httpx.AsyncClient) -> tuple[Headers, dict[str, Any]]:
    """The headers of a new session, and its user."""
    headers = bearing(await sign_in(browser))
    return headers, await _me(browser, headers)


async def _accept(browser: httpx.AsyncClient, headers: Headers, invitation_id: int) -> httpx.Response:
    path = f"/users/me/invitations/{invitation_id}/accept"
    return await browser.post(path, headers={**headers, "If-Match": '"1"'})


async def _joined(browser: httpx.AsyncClient, admin: Member, email: str) -> tuple[Headers, dict[str, Any]]:
    """A person who was invited, has signed in and has accepted."""
    invitation_id = await _invite(admin, email)
    headers, _ = await _signed_in(browser)
    return headers, (await ok(_accept(browser, headers, invitation_id))).json()


async def _account(tenant: Tenant, email: str) -> int:
    """The id of a new account, as `po-api users create` makes it, of the organisation."""
    async with tenant.database.sessions.begin() as session:
        await enter_tenant(session, tenant.organisation_id)
        user = await UserService(session).create(email=email, name="Ada", organisation_id=tenant.organisation_id)
        return user.id


async def test_an_invitation_is_offered_after_the_first_sign_in(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    email = _address(admin)
    invitation_id = await _invite(admin, email)
    provider.be(email.upper(), sub=f"sub-{email}", name="Ada at the provider")
    headers, me = await _signed_in(browser)
    assert (me["organisation_id"], me["roles"]) == (None, [])
    (offered,) = (await ok(browser.get("/users/me/invitations", headers=headers))).json()["items"]
    assert offered["id"] == invitation_id
    me = (await ok(_accept(browser, headers, invitation_id))).json()
    assert (me["organisation_id"], me["name"]) == (tenant.organisation_id, "Ada at the provider")
    assert (me["roles"], me["approval_limit"]) == (["approver"], "500.00")
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        actions = await session.scalars(select(AuditEvent.action).where(AuditEvent.actor_id == me["id"]))
        assert sorted(actions) == ["invitation.accept", "user.join"]


async def test_where_only_the_own_domain_signs_in_the_only_invitation_is_taken_up_by_itself(
    provider: Provider, tenant: Tenant, admin: Member, urls: tuple[str, str]
) -> None:
    email = _address(admin, "colleague")
    await _invite(admin, email)
    provider.be(email)
    async with app_with(provider, urls[1], oidc_hosted_domain=DOMAIN) as app, browser_at(app) as browser:
        _, me = await _signed_in(browser)
        assert (me["organisation_id"], me["roles"]) == (tenant.organisation_id, ["approver"])
        _, again = await _signed_in(browser)
        assert again["version"] == me["version"]


async def test_of_several_invitations_none_is_taken_up_by_itself(
    app: FastAPI, client: httpx.AsyncClient, provider: Provider, admin: Member, urls: tuple[str, str]
) -> None:
    email = _address(admin, "wanted")
    other = await (await new_tenant(app, client)).member(Role.ADMIN)
    for inviting in (admin, other):
        await _invite(inviting, email)
    provider.be(email)
    async with app_with(provider, urls[1], oidc_hosted_domain=DOMAIN) as made, browser_at(made) as browser:
        _, me = await _signed_in(browser)
        assert me["organisation_id"] is None


async def test_the_account_is_known_by_its_subject_from_then_on(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    provider.be(email, sub=f"sub-{email}")
    _, first = await _signed_in(browser)
    provider.be(_address(admin, "married"), sub=f"sub-{email}")
    _, again = await _signed_in(browser)
    assert (again["id"], again["email"]) == (first["id"], email)


async def test_another_account_with_the_same_address_is_refused(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    """An address may be reassigned to another person, who must not get the account."""
    email = _address(admin)
    provider.be(email, sub=f"sub-{email}")
    await _joined(browser, admin, email)
    provider.be(email, sub=f"other-{email}")
    assert told(await there_and_back(browser))["error"] == "identity_mismatch"
    await refused(browser.post("/sessions", json={"id_token": provider.id_token()}), 409, "identity_mismatch")


async def test_an_address_that_is_not_verified_gets_no_invitation(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    invitation_id = await _invite(admin, email)
    provider.be(email)
    provider.claims = {"email_verified": False}
    assert told(await there_and_back(browser))["error"] == "email_not_verified"
    assert (await ok(admin.get(f"/invitations/{invitation_id}"))).json()["status"] == "open"


async def test_who_is_unknown_may_found_an_organisation_and_is_its_admin(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    provider.be(_address(admin, "founder"), name="Fay Founder")
    tokens = await sign_in(browser)
    me = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()
    assert (me["organisation_id"], me["name"], me["roles"]) == (None, "Fay Founder", [])
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
    _, me = await _signed_in(browser)
    assert len(me["name"]) <= 255


async def test_two_first_sign_ins_at_once_make_one_user(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    provider.be(_address(admin, "twice"))
    tokens = [provider.id_token() for _ in range(10)]
    answers = await asyncio.gather(*(browser.post("/sessions", json={"id_token": token}) for token in tokens))
    assert {answer.status_code for answer in answers} == {201}
    users = {(await ok(browser.get("/users/me", headers=bearing(answer.json())))).json()["id"] for answer in answers}
    assert len(users) == 1


@pytest.mark.heavy
@in_turns
async def test_an_acceptance_races_with_the_founding_of_an_organisation(
    browser: httpx.AsyncClient, provider: Provider, admin: Member, turn: int
) -> None:
    email = _address(admin, "torn")
    invitation_id = await _invite(admin, email)
    provider.be(email)
    headers, _ = await _signed_in(browser)
    answers = await asyncio.gather(
        _accept(browser, headers, invitation_id),
        browser.post("/organisations", json={"name": "Founded"}, headers=headers),
    )
    assert [answer.status_code for answer in answers] in ([200, 409], [409, 201])


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


@pytest.mark.heavy
async def test_a_person_is_offered_the_invitation_of_their_own_address_only(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    """The attack: `ada@strasse.example` is invited, and the owner of `straße.example` takes the invitation."""
    number = admin.user_id
    invited = {person: await _invite(admin, first.format(number)) for person, (first, *_) in PERSONS.items()}
    shown = (await ok(admin.get(f"/invitations/{invited['ß']}"))).json()
    assert shown["email"] == f"strauß{number}@joining.example"
    for person, spellings in PERSONS.items():
        for spelling in spellings:
            provider.be(spelling.format(number), sub=f"{list(PERSONS).index(person)}-{number}")
            headers, _ = await _signed_in(browser)
            offered = (await ok(browser.get("/users/me/invitations", headers=headers))).json()["items"]
            assert [item["id"] for item in offered] == [invited[person]], spelling
            # A look-up finds the same.
            found = await ok(admin.get("/invitations", params={"email": spelling.format(number)}))
            assert [item["id"] for item in found.json()["items"]] == [invited[person]]


@pytest.mark.parametrize(
    ("known", "signs_in"),
    [
        ("ada{}@strasse.example", "ada{}@straße.example"),
        ("ada{}@strasse.example", "ada{}@xn--strae-oqa.example"),
        ("strauss{}@joining.example", "strauß{}@joining.example"),
        ("sam{}@joining.example", "ſam{}@joining.example"),
    ],
)
async def test_a_similar_address_is_another_person(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member, known: str, signs_in: str
) -> None:
    made = await _account(tenant, known.format(admin.user_id))
    provider.be(signs_in.format(admin.user_id), sub=f"similar-{admin.user_id}")
    _, me = await _signed_in(browser)
    assert me["id"] != made
    assert (me["organisation_id"], me["roles"]) == (None, [])


async def test_an_address_that_two_users_have_signs_nobody_in(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    """Revision 015 found another user with the address: nobody knows which of them is meant."""
    email = _address(admin)
    made = await _account(tenant, email)
    async with tenant.database.sessions.begin() as session:
        closed = {"identity_issuer": ADDRESS_CONFLICT, "google_id": str(made)}
        await session.execute(update(User).where(User.id == made).values(closed))
    provider.be(email)
    assert told(await there_and_back(browser))["error"] == "identity_mismatch"
    await refused(browser.post("/sessions", json={"id_token": provider.id_token()}), 409, "identity_mismatch")


async def test_a_deactivated_account_is_told_so_and_stays_out(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant, admin: Member
) -> None:
    email = _address(admin)
    provider.be(email)
    headers, me = await _joined(browser, admin, email)
    code = told(await there_and_back(browser))["sign_in_code"]
    await set_active(tenant, me["id"], active=False)
    await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")
    await refused(exchange(browser, code), 403, "user_deactivated")
    assert told(await there_and_back(browser))["error"] == "user_deactivated"
    await refused(browser.post("/sessions", json={"id_token": provider.id_token()}), 403, "user_deactivated")
    await set_active(tenant, me["id"], active=True)
    await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")
    assert (await _signed_in(browser))[1]["id"] == me["id"]


async def test_a_deactivated_member_signs_in_without_the_organisation(
    browser: httpx.AsyncClient, provider: Provider, admin: Member
) -> None:
    email = _address(admin)
    provider.be(email)
    headers, me = await _joined(browser, admin, email)
    await ok(admin.post(f"/users/{me['id']}/deactivate", etag="*"))
    await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")
    headers, me = await _signed_in(browser)
    assert (me["organisation_id"], me["roles"]) == (None, [])
    await refused(browser.get("/porfs", headers=headers), 403, "no_organisation")


@pytest.mark.heavy
@in_turns
async def test_no_session_that_a_deactivation_ended_comes_back(
    browser: httpx.AsyncClient, provider: Provider, admin: Member, turn: int
) -> None:
    """Case I4: a sign-in, a refresh and the use of a key, all at once with the deactivation; then the reactivation."""
    email = _address(admin)
    provider.be(email)
    headers, me = await _joined(browser, admin, email)
    tokens = await sign_in(browser)
    key = {"name": "Script", "scopes": ["users:read"]}
    _, *answers = await asyncio.gather(
        admin.post(f"/users/{me['id']}/deactivate", etag="*"),
        browser.post("/sessions", json={"id_token": provider.id_token()}),
        browser.post("/sessions/refresh", json={"refresh_token": tokens["refresh_token"]}),
        browser.post("/api-keys", json=key, headers=headers),
    )
    opened = [bearing(answer.json()) for answer in answers[:2] if answer.is_success]
    used = [headers, bearing(tokens), *opened]
    if answers[2].status_code == 201:
        used.append({"Authorization": f"Bearer {answers[2].json()['key']}"})
    ended = [each for each in used if (await browser.get("/users/me", headers=each)).status_code == 401]
    assert headers in ended
    assert bearing(tokens) in ended
    await ok(admin.post(f"/users/{me['id']}/activate", etag="*"))
    for each in ended:
        await refused(browser.get("/users/me", headers=each), 401, "unauthenticated")
    for answer in answers[:2]:
        if answer.is_success and bearing(answer.json()) in ended:
            refresh = browser.post("/sessions/refresh", json={"refresh_token": answer.json()["refresh_token"]})
            await refused(refresh, 401, "invalid_refresh_token")
