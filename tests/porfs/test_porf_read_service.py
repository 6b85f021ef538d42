"""Representations by PostgreSQL and the cache equal those from entities, schemas and the table."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from po_api.approvals.domain import Standing
from po_api.approvals.eligibility import APPROVES, Approver, refusal
from po_api.approvals.models import ApprovalDecision
from po_api.core.actor import Actor
from po_api.core.money import TaxRounding, totals
from po_api.core.permissions import Role, Scope
from po_api.db.database import enter_tenant
from po_api.members.models import Member as MemberRow
from po_api.organisations.models import Organisation
from po_api.porfs import schemas
from po_api.porfs.amounts import priced
from po_api.porfs.domain import MACHINE, PorfFacts, PorfStatus, remaining
from po_api.porfs.maximum import maximum_total
from po_api.porfs.models import Porf
from po_api.porfs.read_service import allowed_actions
from po_api.porfs.reduced_facts import ReducedFacts
from po_api.suppliers.models import Supplier
from support.organisations import LINE, Member, TestOrganisation, act, created, new_organisation, ok
from support.pages import as_listed
from support.porf_facts import actors, facts
from support.repetition import part_of

# Everything that JSON writes in another way than it stands there, beside the plain.
_characters = st.sampled_from("ab \"\\/<>&'é漢😀%_{}")
_texts = st.text(_characters, min_size=1, max_size=20).map(lambda text: f"x{text}y")
_decimals = st.decimals(min_value="0.0001", max_value=99_999, places=4).map(lambda number: f"{number:f}")
_percents = st.sampled_from(["0", "7.5", "20", "19.0000", "0.0001", "100"])
_dates = st.none() | st.dates().filter(lambda day: day.year >= 1000).map(str)
_lines = st.fixed_dictionaries(
    {
        "description": _texts,
        "quantity": _decimals,
        "unit_price": st.just("0") | _decimals,
        "discount_percent": _percents,
        "tax_rate": _percents,
        "sku": st.none() | _texts,
        "needed_by": _dates,
    }
)
_porfs = st.fixed_dictionaries(
    {
        "title": _texts,
        "justification": st.none() | _texts.map(lambda text: f"{text}\n\t{text}"),
        "cost_centre": st.none() | _texts,
        "needed_by": _dates,
        "currency": st.sampled_from(["EUR", "JPY", "TND"]),
        "lines": st.lists(_lines, max_size=4),
    }
)


@pytest.mark.heavy
@given(facts, actors, st.none() | st.frozensets(st.sampled_from(Scope)))
def test_remembered_answers_are_those_of_the_table(
    state: PorfFacts, actor: Actor, scopes: frozenset[Scope] | None
) -> None:
    member = Actor(actor.organisation_id, actor.user_id, actor.roles, actor.approval_limit, scopes)
    limit = actor.approval_limit
    seen = ReducedFacts(
        status=state.status,
        currency=state.currency,
        standing=state.standing,
        allow_self_approval=state.allow_self_approval,
        allow_override=state.allow_override,
        is_own=state.requester_id == actor.user_id,
        is_author=actor.user_id in {state.requester_id, *state.author_ids},
        has_lines=state.line_count > 0,
        ordered=state.ordered,
        has_remaining=state.has_remaining,
        submitted=state.submitted,
        has_approver=state.has_policy or state.has_approver,
        has_rates=state.has_rates,
        lacks_rate=state.base_rate is None,
        lacks_ceiling=state.base_ceiling is None,
        supplier_is_active=state.supplier_is_active,
        supplier_has_changed=state.supplier_has_changed,
    )
    text = f"({','.join(value if isinstance(value, str) else 'ft'[value] for value in seen)})"
    answer = allowed_actions(text, member.roles, scopes, has_limit=limit is not None)
    assert json.loads(answer) == _allowed(state, member)
    listed = allowed_actions(text, member.roles, scopes, has_limit=limit is not None, in_list=True)
    assert json.loads(listed) == as_listed({"allowed_actions": _allowed(state, member)})["allowed_actions"]


def _allowed(state: PorfFacts, actor: Actor) -> dict[str, Any]:
    return {
        str(action): {"allowed": refused is None, "reason": refused and refused.code}
        for action, refused in MACHINE.allowed_actions(state, actor).items()
    }


@pytest.fixture(scope="module", params=list(TaxRounding))
async def team(
    request: pytest.FixtureRequest, app: FastAPI, client: httpx.AsyncClient
) -> AsyncIterator[TestOrganisation]:
    yield await new_organisation(app, client, tax_rounding=request.param)


@pytest.mark.heavy
@settings(max_examples=part_of(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=_porfs, has_supplier=st.booleans(), action=st.sampled_from([None, "submit", "cancel"]))
async def test_the_json_of_a_request_is_that_of_its_schema(
    team: TestOrganisation, body: dict[str, Any], has_supplier: bool, action: str | None
) -> None:
    supplier_id = team.supplier_id if has_supplier else None
    shown = await created(team.requester.post("/porfs", json={**body, "supplier_id": supplier_id}))
    if action == "cancel" or (action == "submit" and body["lines"]):
        shown = await act(team.requester, shown, action)
    await _compare(team, shown, (team.requester, team.buyer))


@pytest.mark.heavy
@pytest.mark.parametrize("currency", ["EUR", "JPY"])
@pytest.mark.parametrize("allowed", [True, False])
async def test_the_allowed_actions_of_an_approver_are_those_of_the_table(
    app: FastAPI, client: httpx.AsyncClient, currency: str, allowed: bool
) -> None:
    team = await new_organisation(app, client, allow_self_approval=allowed)
    limits = [None, "0", "298.79", "298.80", "1000000"]
    approvers = [await team.member(Role.APPROVER, approval_limit=limit) for limit in limits]
    both = await team.member(Role.APPROVER, Role.REQUESTER)
    own = await created(both.post("/porfs", json={"title": "x", "currency": currency, "lines": [LINE]}))
    for shown in (await team.pending(currency=currency), await act(both, own, "submit")):
        await _compare(team, shown, (*approvers, both, team.approver))


@pytest.mark.parametrize("status", list(PorfStatus))
async def test_the_json_of_every_status_is_that_of_the_schema(organisation: TestOrganisation, status: str) -> None:
    shown = await organisation.in_status(status)
    await _compare(
        organisation,
        shown,
        (organisation.requester, organisation.approver, organisation.buyer, organisation.admin, organisation.auditor),
    )


async def _compare(team: TestOrganisation, shown: httpx.Response, readers: tuple[Member, ...]) -> None:
    porf_id = shown.json()["id"]
    for reader in readers:
        answer = await reader.get(f"/porfs/{porf_id}")
        if answer.status_code == 404:  # a draft, which approvers do not see
            continue
        assert answer.text == (await _plainly(team, reader, porf_id)).model_dump_json()
        listed = await ok(reader.get("/porfs?limit=100"))
        summary = {name: answer.json()[name] for name in schemas.PorfSummary.model_fields}
        assert as_listed(summary) in listed.json()["items"]
        assert listed.text.startswith('{"next_cursor":')
    lines = await ok(team.buyer.get(f"/porfs/{porf_id}/lines?limit=100"))
    whole = (await ok(team.buyer.get(f"/porfs/{porf_id}"))).json()["lines"]
    assert lines.json()["items"] == [{name: line[name] for name in line if name != "base_net"} for line in whole]


async def _plainly(team: TestOrganisation, reader: Member, porf_id: int) -> schemas.PorfRead:
    """The representation of the request from its entities, the rules in Python and the schema."""
    async with team.database.sessions() as session:
        await enter_tenant(session, team.organisation_id)
        found = await session.scalars(select(Porf).options(selectinload(Porf.lines)).where(Porf.id == porf_id))
        porf = found.one()
        organisation = await session.get_one(Organisation, porf.organisation_id)
        requester = await session.get_one(MemberRow, (porf.organisation_id, porf.requester_id))
        member = await session.get_one(MemberRow, (porf.organisation_id, reader.user_id))
        key = (porf.organisation_id, porf.supplier_id)
        supplier = await session.get(Supplier, key) if porf.supplier_id else None
        of_organisation = MemberRow.organisation_id == porf.organisation_id
        members = {row.user_id: row for row in await session.scalars(select(MemberRow).where(of_organisation))}
        of_round = (ApprovalDecision.porf_id == porf_id, ApprovalDecision.round == porf.approval_round)
        decisions = await session.scalars(
            select(ApprovalDecision).where(*of_round).order_by(ApprovalDecision.id.desc())
        )
        decided = [_decision(row, members, member) for row in decisions]
    lines = porf.lines
    maximum = maximum_total(lines, currency=porf.currency, tax_rounding=porf.tax_rounding)
    is_base = porf.currency == organisation.currency
    state = PorfFacts(
        status=PorfStatus(porf.status),
        requester_id=porf.requester_id,
        author_ids=porf.author_ids,
        currency=porf.currency,
        total=porf.total,
        over_order_percent=organisation.over_order_percent,
        maximum_total=maximum,
        base_currency=organisation.currency,
        base_ceiling=maximum if is_base else None,
        has_rates=False,
        base_rate=Decimal(1) if is_base else None,
        base_rate_date=None,
        base_rate_id=None,
        allow_self_approval=organisation.allow_self_approval,
        allow_override=organisation.allow_override,
        line_count=len(lines),
        ordered=any(line.ordered_quantity > 0 for line in lines),
        has_remaining=any(remaining(line) > 0 for line in lines),
        submitted=porf.submitted_at is not None or porf.approval_round > 1,
        has_policy=False,
        has_approver=porf.status == "draft",  # the organisation has an approver without a limit
        standing=Standing.NONE,
        supplier_is_active=supplier is None or supplier.is_active,
        supplier_hash=None,
        supplier_has_changed=False,
    )
    roles = frozenset(Role(role) for role in member.roles)
    actor = Actor(porf.organisation_id, member.user_id, roles, member.approval_limit)
    if porf.status == "pending":
        refused = refusal(APPROVES, state, Approver.of(actor))
        state = replace(state, standing=Standing.LIMITED if refused else Standing.DECIDES)
    taxes = totals(map(priced, lines), currency=porf.currency, tax_rounding=TaxRounding(porf.tax_rounding)).taxes
    names = set(schemas.PorfRead.model_fields) & set(Porf.__table__.columns.keys())
    return schemas.PorfRead.model_validate(
        {
            **{name: getattr(porf, name) for name in names},
            "requester_name": requester.name,
            "supplier_name": supplier and supplier.name,
            "line_count": len(lines),
            "allowed_actions": _allowed(state, actor),
            "over_order_percent": organisation.over_order_percent,
            "maximum_total": maximum,
            "decisions": decided,
            "approvers": _approvers(state, members, member) if porf.status == "pending" else None,
            "taxes": [schemas.TaxRead.model_validate(tax) for tax in taxes],
            "lines": [_line(line, is_fixed=porf.base_net is not None) for line in lines],
        }
    )


def _sees_rights(reader: MemberRow) -> bool:
    return not {"admin", "auditor"}.isdisjoint(reader.roles)


def _decision(row: ApprovalDecision, members: dict[int, MemberRow], reader: MemberRow) -> schemas.DecisionRead:
    sees_limit = _sees_rights(reader) or (row.on_behalf_of_id or row.approver_id) == reader.user_id
    limit = {"amount": row.approver_limit, "currency": row.limit_currency} if sees_limit else None
    copied = ("decision", "approver_id", "on_behalf_of_id", "comment", "decided_at")
    fields: dict[str, Any] = {name: getattr(row, name) for name in copied}
    name = members[row.approver_id].name
    other = None if row.on_behalf_of_id is None else members[row.on_behalf_of_id].name
    names = {"approver_name": name, "on_behalf_of_name": other}
    return schemas.DecisionRead.model_validate({**fields, **names, "approver_limit": limit})


def _approvers(state: PorfFacts, members: dict[int, MemberRow], reader: MemberRow) -> schemas.EligibleApprovers:
    found = [row for row in members.values() if refusal(APPROVES, state, _as_approver(row)) is None]
    named = [{"id": row.user_id, "name": row.name} for row in sorted(found, key=lambda row: (row.name, row.user_id))]
    shown = named[:20] if _sees_rights(reader) else None
    return schemas.EligibleApprovers.model_validate({"count": len(found), "members": shown})


def _as_approver(row: MemberRow) -> Approver:
    return Approver(row.user_id, row.approval_limit, "approver" in row.roles, row.is_active)


def _line(line: Any, *, is_fixed: bool) -> schemas.RequestedLineRead:
    """`is_fixed`: the request has amounts in the base currency, which is its own."""
    names = set(schemas.PorfLineRead.model_fields) - {"remaining_quantity"}
    fields: dict[str, Any] = {name: getattr(line, name) for name in names}
    left: Decimal = remaining(line)
    base_net = line.net if is_fixed else None
    return schemas.RequestedLineRead.model_validate({**fields, "remaining_quantity": left, "base_net": base_net})
