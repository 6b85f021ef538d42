"""The invariants of the domain (domain.md), checked on the rows of a database."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ForeignKeyConstraint

from po_api.core.email import comparable_email
from po_api.core.hierarchy import path_to_root
from po_api.core.money import PricedLine, TaxRounding, in_base_currency, totals
from po_api.core.records import extract
from po_api.operations.invariant_queries import SAME, VIOLATIONS
from po_api.porfs.content import ApprovedLine, PorfContent, is_approved_content
from po_api.porfs.maximum import maximum_total
from po_api.structure.domain import MAX_LEVELS
from po_api.tables import metadata

# `identity_issuer` of users whose address is that of another user, too: nobody signs in by it (revision 015).
ADDRESS_CONFLICT = "urn:po-api:address-conflict"

_NUMBER = re.compile(r"[A-Z0-9]{1,10}-(\d{4})-(\d{6,})")


async def violations(connection: Any, organisation_id: int | None = None) -> Sequence[str]:
    """The violated invariants of one organisation, or of the whole database: a line for each.

    `connection` is an asyncpg connection of the tables' owner; all queries use one snapshot.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return [line async for line in broken_rules(connection, organisation_id)]


async def broken_rules(connection: Any, organisation_id: int | None = None) -> AsyncIterator[str]:
    """The same, inside the caller's transaction."""
    for rule, query in (VIOLATIONS | _references()).items():
        if found := await connection.fetch(query, organisation_id):
            yield f"violated: {rule}: {[dict(row) for row in found[:5]]}"
    for rule, queries in SAME.items():
        some, others = [{tuple(row) for row in await connection.fetch(query, organisation_id)} for query in queries]
        if found := sorted(some ^ others)[:5]:
            yield f"violated: {rule}: (organisation_id, id) {found}"
    async for line in _addresses(connection, organisation_id):
        yield line
    # One organisation at a time: its documents are held in memory.
    every = await connection.fetch("SELECT id FROM organisations WHERE $1::bigint IS NULL OR id = $1", organisation_id)
    for row in every:
        for check in (_wrong_totals, _not_approved, _gaps, _hierarchies):
            async for line in check(connection, row["id"]):
                yield line


def _references() -> dict[str, str]:
    """Queries that check every foreign key again: its index may be damaged, or the referenced row may belong to another
    organisation, in which it is not looked for."""
    queries = {}
    for table in metadata.sorted_tables:
        for key in table.constraints:
            if isinstance(key, ForeignKeyConstraint):
                *owner, column = key.column_keys
                mine = "($1::bigint IS NULL OR c.organisation_id = $1)" if owner else "$1::bigint IS NULL"
                same = " AND r.organisation_id = c.organisation_id" if owner else ""
                (referred,) = [item.column.name for item in key.elements][-1:]
                queries[f"{table.name}.{column} refers to a row of the same organisation"] = (
                    f"SELECT c.* FROM {table.name} c LEFT JOIN {key.referred_table.name} r"  # noqa: S608
                    f" ON r.{referred} = c.{column}{same}"
                    f" WHERE {mine} AND c.{column} IS NOT NULL AND r.{referred} IS NULL"
                )
    return queries


async def _documents(
    connection: Any, header: str, line: str, parent: str, organisation_id: int
) -> list[tuple[SimpleNamespace, list[SimpleNamespace]]]:
    """All headers of a table, with their lines in the order of their positions."""
    lines: defaultdict[int, list[SimpleNamespace]] = defaultdict(list)
    query = f"SELECT * FROM {line} WHERE organisation_id = $1 ORDER BY position"  # noqa: S608
    for row in await connection.fetch(query, organisation_id):
        lines[row[parent]].append(SimpleNamespace(**row))
    headers = await connection.fetch(f"SELECT * FROM {header} WHERE organisation_id = $1", organisation_id)  # noqa: S608
    return [(SimpleNamespace(**row), lines[row["id"]]) for row in headers]


async def _addresses(connection: Any, organisation_id: int | None) -> AsyncIterator[str]:
    """Users whose address is not in the form in which addresses are compared, or is that of another user, too (revision
    015). The query leaves out addresses of lower-case ASCII characters, which are in that form."""
    query = """
        SELECT id, email, identity_issuer FROM users
        WHERE ($1::bigint IS NULL OR organisation_id = $1)
          AND (email ~ '[^!-@[-~]' OR email LIKE '%xn--%' OR identity_issuer = 'urn:po-api:address-conflict')
        ORDER BY id
    """
    found = [
        row["id"]
        for row in await connection.fetch(query, organisation_id)
        if row["identity_issuer"] == ADDRESS_CONFLICT or comparable_email(row["email"]) != row["email"]
    ]
    if found:
        yield f"violated: a user's e-mail address is in its only spelling, and no other user's: users {found}"


async def _wrong_totals(connection: Any, organisation_id: int) -> AsyncIterator[str]:
    requests = await _documents(connection, "porfs", "porf_lines", "porf_id", organisation_id)
    orders = await _documents(
        connection, "purchase_orders", "purchase_order_lines", "purchase_order_id", organisation_id
    )
    for header, lines in requests + orders:
        priced = [PricedLine(row.quantity, row.unit_price, row.discount_percent, row.tax_rate) for row in lines]
        computed = totals(priced, currency=header.currency, tax_rounding=TaxRounding(header.tax_rounding))
        stored = (header.net, header.tax, header.total, sum(row.net for row in lines))
        if stored != (computed.net, computed.tax, computed.total, computed.net):
            yield f"violated: totals are those of the lines: {header}"
    for header, _ in requests + orders:
        if header.status != "draft" and header.base_rate is not None and _wrong_base_amounts(header):
            yield f"violated: amounts in the base currency are the document's at its rate: {header}"
    for porf, lines in requests:
        if porf.maximum_total is not None and porf.maximum_total != maximum_total(
            lines, currency=porf.currency, tax_rounding=porf.tax_rounding
        ):
            yield f"violated: what can be ordered at most is the total of the lines with their tolerances: {porf}"


def _wrong_base_amounts(header: SimpleNamespace) -> bool:
    """Whether an amount in the base currency is not the rounded product of the document's and its rate.

    The version before revision 045 keeps `base_ceiling` of a request that it recalls, and so does a cancelled one.
    """
    pairs = [(header.net, header.base_net), (header.total, header.base_total)]
    ceiling = getattr(header, "base_ceiling", None)
    if ceiling is not None and header.maximum_total is not None:
        pairs.append((header.maximum_total, ceiling))
    return header.status != "cancelled" and any(
        stored != in_base_currency(amount, header.base_rate, header.base_currency) for amount, stored in pairs
    )


async def _not_approved(connection: Any, organisation_id: int) -> AsyncIterator[str]:
    """Requests that are pending or approved, but whose content is not that of the run, or of the approval.

    What the version before revision 048 decides belongs to no run.
    """
    query = """
        SELECT porf_id, round, content_hash, hash_version, 1 AS place FROM approval_runs
        WHERE status IN ('open', 'approved') AND content_hash IS NOT NULL AND organisation_id = $1
        UNION ALL SELECT d.porf_id, d.round, d.content_hash, d.hash_version, 2 FROM approval_decisions d
        LEFT JOIN approval_runs r ON r.organisation_id = d.organisation_id AND r.id = d.run_id
        WHERE d.decision = 'approved' AND d.organisation_id = $1 AND coalesce(r.status, 'approved') = 'approved'
        ORDER BY place
    """
    hashes = {
        (row["porf_id"], row["round"]): (row["content_hash"], row["hash_version"])
        for row in await connection.fetch(query, organisation_id)
    }
    for porf, lines in await _documents(connection, "porfs", "porf_lines", "porf_id", organisation_id):
        is_approved = porf.status in ("approved", "partially_ordered", "ordered", "closed")
        approved, version = hashes.get((porf.id, porf.approval_round), (None, None))
        content = extract(PorfContent, porf), [extract(ApprovedLine, line) for line in lines]
        is_decided = is_approved or (porf.status == "pending" and approved is not None)
        if is_decided and not is_approved_content(*content, approved_hash=approved, version=version):
            yield f"violated: the content of a request is the approved content: {porf}"


async def _hierarchies(connection: Any, organisation_id: int) -> AsyncIterator[str]:
    """Cycles of parents and of managers, and hierarchies with too many levels."""
    for table in ("cost_centres", "categories", "teams", "members"):
        node, parent = ("user_id", "manager_id") if table == "members" else ("id", "parent_id")
        query = f"SELECT {node} AS node, {parent} AS parent FROM {table} WHERE organisation_id = $1"  # noqa: S608
        parents = {row["node"]: row["parent"] for row in await connection.fetch(query, organisation_id)}
        for entry in parents:
            *_, top = path = list(path_to_root(parents, entry))
            if parents[top] is not None:
                yield f"violated: hierarchies have no cycle: {table} {path}"
            if len(path) > MAX_LEVELS and table != "members":
                yield f"violated: hierarchies have at most {MAX_LEVELS} levels: {table} {path}"


async def _gaps(connection: Any, organisation_id: int) -> AsyncIterator[str]:
    """Number series that are not 1, 2, 3 … without gap or repetition, or whose counter is not the next number.

    Numbers of deleted drafts are not reused: the requests' numbers are read from the events of their creation.
    """
    numbers = """
        SELECT 'purchase_order' AS document_type, number FROM purchase_orders
        WHERE number IS NOT NULL AND organisation_id = $1
        UNION ALL
        SELECT 'porf', after ->> 'number' FROM audit_events WHERE action = 'porf.create' AND organisation_id = $1
    """
    given: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in await connection.fetch(numbers, organisation_id):
        match = _NUMBER.fullmatch(row["number"])
        if match is None:
            yield f"violated: numbers have the form PO-2026-000001: {row['number']}"
        else:
            given[row["document_type"], match[1]].append(int(match[2]))
    series = await connection.fetch("SELECT * FROM number_series WHERE organisation_id = $1", organisation_id)
    counters = {(row["document_type"], row["period"]): row["next_value"] for row in series}
    for key in counters.keys() | given.keys():
        values = sorted(given[key])
        if values != list(range(1, len(values) + 1)):
            yield f"violated: the numbers of {key} have no gap: {values}"
        if counters.get(key) != len(values) + 1:
            yield f"violated: the counter of {key} is the number after its {len(values)} numbers: {counters.get(key)}"
