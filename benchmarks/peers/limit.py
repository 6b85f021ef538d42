"""The limit: Starlette, asyncpg and orjson by hand.

    python -m benchmarks.peers.limit PORT        with DATABASE_URL and SECRET_KEY in the environment

It uses the same isolation as po-api: SET LOCAL in a transaction, sent with its BEGIN. The session check needs neither:
it calls the function for rights, since members are hidden until the tenant is entered.
Updates of the session's last use, ETags, headers and rate limits are omitted.
"""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import asyncpg
import orjson
import uvicorn
from jose import JWTError, jwt
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers import shared

KEY = os.environ["SECRET_KEY"]

CHECK = """
    SELECT u.id, u.organisation_id, m.roles, m.approval_limit,
        'requester' = ANY (m.roles) AS requests, 'approver' = ANY (m.roles) AS approves
    FROM sessions s JOIN users u ON u.id = s.user_id CROSS JOIN member_of(u.organisation_id, u.id) m
    WHERE s.id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND s.expires_at > now()
        AND coalesce(s.last_seen_at, s.created_at) > now() - interval '7 days'
        AND u.is_active AND u.credentials_version = s.credentials_version AND m.is_active
"""
SUMMARY = """
    p.id, p.number, p.title, p.status, p.requester_id, m.name AS requester_name, p.supplier_id,
    s.name AS supplier_name, p.cost_centre, p.needed_by, p.currency, p.total::text,
    p.version, p.submitted_at, p.decided_at, p.created_at, p.updated_at
"""
GUARDS = """
    p.requester_id = $2 AS own, $5::numeric IS NOT NULL AS limited, coalesce(p.total <= $5, true) AS within_limit,
    p.currency = o.currency AS base_currency, o.allow_self_approval AS self_approval, l.line_count > 0 AS lines,
    l.ordered, l.has_remaining, p.submitted_at IS NOT NULL AS submitted,
    p.status = 'draft' AND EXISTS (
        SELECT FROM members a
        WHERE a.organisation_id = p.organisation_id AND a.is_active AND a.roles @> '{approver}'
            AND (a.user_id <> p.requester_id OR o.allow_self_approval)
            AND (a.approval_limit IS NULL OR (a.approval_limit >= p.total AND p.currency = o.currency))
    ) AS has_approver, coalesce(s.is_active, true) AS supplier_is_active
"""
VISIBLE = """
    FROM porfs p JOIN organisations o ON o.id = p.organisation_id
    JOIN members m ON m.organisation_id = p.organisation_id AND m.user_id = p.requester_id
    LEFT JOIN suppliers s ON s.organisation_id = p.organisation_id AND s.id = p.supplier_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS line_count, coalesce(bool_or(ordered_quantity > 0), false) AS ordered, coalesce(bool_or(
            quantity - ordered_quantity - closed_quantity > 0
        ), false) AS has_remaining
        FROM porf_lines WHERE organisation_id = p.organisation_id AND porf_id = p.id
    ) l
    WHERE p.organisation_id = $1
        AND (NOT ($3 OR $4) OR p.requester_id = $2 OR ($4 AND p.submitted_at IS NOT NULL))
"""
ORDER = "ORDER BY p.created_at DESC, p.id DESC LIMIT $6"
FIRST_PAGE = f"SELECT {SUMMARY}, {GUARDS} {VISIBLE} {ORDER}"
NEXT_PAGE = f"SELECT {SUMMARY}, {GUARDS} {VISIBLE} AND (p.created_at, p.id) < ($7, $8) {ORDER}"
# $7: whether the user sees the rights of others.
DECISIONS = """
    (SELECT coalesce(json_agg(json_build_object(
        'decision', d.decision, 'approver_id', d.approver_id, 'approver_name', a.name,
        'on_behalf_of_id', d.on_behalf_of_id, 'on_behalf_of_name', (
            SELECT b.name FROM members b WHERE b.organisation_id = d.organisation_id AND b.user_id = d.on_behalf_of_id),
        'approver_limit', CASE WHEN d.limit_currency IS NOT NULL AND ($7 OR d.approver_id = $2)
            THEN json_build_object('amount', d.approver_limit::text, 'currency', d.limit_currency) END,
        'comment', d.comment, 'decided_at', replace(
            to_char(d.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
    ) ORDER BY d.id DESC), '[]')
    FROM approval_decisions d JOIN members a ON a.organisation_id = d.organisation_id AND a.user_id = d.approver_id
    WHERE d.organisation_id = p.organisation_id AND d.porf_id = p.id AND d.round = p.approval_round) AS decisions
"""
APPROVERS = """
    CASE p.status WHEN 'pending' THEN (
        SELECT json_build_object('count', count(*), 'members', CASE WHEN $7 THEN coalesce(json_agg(
            json_build_object('id', a.user_id, 'name', a.name) ORDER BY a.position) FILTER (WHERE a.position <= 20),
            '[]') END)
        FROM (
            SELECT a.user_id, a.name, row_number() OVER (ORDER BY a.name, a.user_id) AS position FROM members a
            WHERE a.organisation_id = p.organisation_id AND a.is_active AND a.roles @> '{approver}'
                AND (a.user_id <> p.requester_id OR o.allow_self_approval)
                AND (a.approval_limit IS NULL OR (a.approval_limit >= p.total AND p.currency = o.currency))
        ) a
    ) ELSE NULL END AS approvers
"""
DETAILS = """
    l.line_count, p.justification, p.net::text, p.tax::text, p.approval_round, p.tax_rounding,
    p.cost_centre_id, p.delivery_address_id,
    p.delivery_address
"""
# The organisations of the data set permit no more than what was requested, and have no exchange rates.
TOLERANCE = """
    trim_scale(coalesce(p.over_order_percent, o.over_order_percent))::text AS over_order_percent,
    coalesce(p.maximum_total, p.total)::text AS maximum_total, p.base_currency,
    trim_scale(p.base_rate)::text AS base_rate, p.base_rate_date, p.base_net::text, p.base_total::text,
    p.base_ceiling::text
"""
WHOLE = f"SELECT {SUMMARY}, {DETAILS}, {TOLERANCE}, {DECISIONS}, {APPROVERS}, {GUARDS} {VISIBLE} AND p.id = $6"
LINES = """
    SELECT id, position, description, sku, trim_scale(quantity)::text AS quantity, unit,
        trim_scale(unit_price)::text AS unit_price, trim_scale(discount_percent)::text AS discount_percent,
        trim_scale(tax_rate)::text AS tax_rate, needed_by, category_id, cost_centre_id, net::text,
        trim_scale(ordered_quantity)::text AS ordered_quantity, trim_scale(closed_quantity)::text AS closed_quantity,
        trim_scale(greatest(quantity - ordered_quantity - closed_quantity, 0))::text AS remaining_quantity,
        NULL AS base_net,
        tax_rate AS exact_rate, net AS exact_net
    FROM porf_lines WHERE organisation_id = $1 AND porf_id = $2 ORDER BY position
"""
SUMMARY_NAMES = """id number title status requester_id requester_name supplier_id supplier_name cost_centre needed_by
    currency total version submitted_at decided_at created_at updated_at""".split()
WHOLE_NAMES = [
    *SUMMARY_NAMES,
    *("line_count", "justification", "net", "tax", "approval_round", "tax_rounding"),
    *("cost_centre_id", "delivery_address_id", "delivery_address"),
    *("over_order_percent", "maximum_total", "base_currency", "base_rate", "base_rate_date", "base_net"),
    *("base_total", "base_ceiling", "decisions", "approvers"),
]
LINE_NAMES = """id position description sku quantity unit unit_price discount_percent tax_rate needed_by
    category_id cost_centre_id net
    ordered_quantity closed_quantity remaining_quantity base_net""".split()


async def check(connection: Any, request: Request) -> Any:
    """The user of the token."""
    try:
        token = request.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, KEY, algorithms=["HS256"], audience="po-api", issuer="po-api")
    except (KeyError, JWTError):
        raise HTTPException(401) from None
    user = await connection.fetchrow(CHECK, int(claims["sid"]), int(claims["sub"]))
    if user is None:
        raise HTTPException(401)
    return user


@asynccontextmanager
async def tenant(connection: Any, user: Any) -> AsyncIterator[tuple[Any, ...]]:
    """A transaction in the user's tenant; yields the first parameters of its statements."""
    organisation_id = int(user["organisation_id"])
    await connection.execute(f"BEGIN; SET LOCAL app.organisation_id = {organisation_id}")
    try:
        yield organisation_id, user["id"], user["requests"], user["approves"], user["approval_limit"]
    finally:
        await connection.execute("COMMIT")


@cache
def rendered_actions(roles: tuple[str, ...], status: str, facts: tuple[bool, ...], *, in_list: bool) -> orjson.Fragment:
    names = """own limited within_limit base_currency self_approval lines ordered has_remaining submitted has_approver
        supplier_is_active"""
    actions = shared.allowed_actions(roles, status=status, **dict(zip(names.split(), facts, strict=True)))
    return orjson.Fragment(orjson.dumps(shared.names_of(actions) if in_list else actions))


def summary(row: Any, names: list[str], user: Any, *, in_list: bool = False) -> dict[str, Any]:
    values = tuple(row)
    item = dict(zip(names, values, strict=False))
    item["allowed_actions"] = rendered_actions(
        tuple(user["roles"]), item["status"], values[len(names) :], in_list=in_list
    )
    return item


def answer(content: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), media_type="application/json")


async def get_state_machine(request: Request) -> Response:
    async with request.app.state.pool.acquire() as connection:
        await check(connection, request)
    return answer(shared.STATE_MACHINE)


async def list_porfs(request: Request) -> Response:
    limit = int(request.query_params.get("limit", 50))
    cursor = request.query_params.get("cursor")
    async with request.app.state.pool.acquire() as connection:
        user = await check(connection, request)
        async with tenant(connection, user) as who:
            if cursor is None:
                rows = await connection.fetch(FIRST_PAGE, *who, limit + 1)
            else:
                rows = await connection.fetch(NEXT_PAGE, *who, limit + 1, *shared.decode_cursor(cursor))
    has_more = len(rows) > limit
    last = rows[limit - 1] if has_more else None
    return answer(
        {
            "items": [summary(row, SUMMARY_NAMES, user, in_list=True) for row in rows[:limit]],
            "next_cursor": last and shared.encode_cursor(last["created_at"], last["id"]),
            "has_more": has_more,
        }
    )


async def get_porf(request: Request) -> Response:
    porf_id = request.path_params["porf_id"]
    async with request.app.state.pool.acquire() as connection:
        user = await check(connection, request)
        async with tenant(connection, user) as who:
            sees_rights = not {"admin", "auditor"}.isdisjoint(user["roles"])
            row = await connection.fetchrow(WHOLE, *who, porf_id, sees_rights)
            lines = await connection.fetch(LINES, who[0], porf_id)
    if row is None:
        raise HTTPException(404)
    porf = summary(row, WHOLE_NAMES, user)
    porf |= {name: orjson.Fragment(row[name] or "null") for name in ("decisions", "approvers")}
    rates = [(line["exact_rate"], line["exact_net"]) for line in lines]
    porf["taxes"] = shared.taxes(rates, currency=porf["currency"], tax_rounding=porf["tax_rounding"])
    porf["lines"] = [dict(zip(LINE_NAMES, line, strict=False)) for line in lines]
    return answer(porf)


async def nothing(_connection: Any) -> None:
    """SET LOCAL leaves nothing behind that would have to be reset."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=20, reset=nothing) as pool:
        app.state.pool = pool
        yield


app = Starlette(
    routes=[
        Route("/api/v1/state-machines/porf", get_state_machine),
        Route("/api/v1/porfs", list_porfs),
        Route("/api/v1/porfs/{porf_id:int}", get_porf),
    ],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
