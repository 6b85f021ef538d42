"""Databases for tests of the revisions: filled with rows, compared by schema and content."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Engine, event

from po_api.db.database import libpq_url
from po_api.operations import migrations, revisions
from support.clusters import Cluster, connected, copying
from support.forked import Forked, ForkedServer, alembic, po_api

PROJECT = Path(__file__).parents[2]
BINARIES = Path(sys.executable).parent
REVISIONS = [revision.name for revision in revisions.chain()]
HEAD = revisions.head_revision()

NOT_APPLICABLE = [
    "prefer-robust-stmts",  # for new tables: IF NOT EXISTS would hide one that is not the expected one
    "ban-drop-constraint",  # a repeated step drops the constraint that it adds, in the same statement
    "prefer-bigint-over-int",  # positions, rounds and versions stay small; ids are bigint
    "prefer-text-field",  # Alembic's own table
    "require-lock-timeout",  # both are set on the connection that migrates
    "require-statement-timeout",
]
# Defaults of the current transaction, which do not differ from row to row.
STABLE_DEFAULTS = ["adding-field-with-default"]
# Drops what the version before has replaced.
CONTRACTING = ["ban-drop-column", "ban-drop-function", "require-concurrent-index-deletion"]
# The author becomes the requester: no other version works during this revision, however it is done.
RENAMING = ["renaming-column", "renaming-object"]

# The tests of as many of the last revisions run in `make test`, and in `make test-server`. Those before have landed:
# they are never edited, and their tests are thorough ones.
_RECENT = 1
_ON_SERVER = 4

_serial = itertools.count(1)


def steps(names: list[str]) -> list[pytest.ParameterSet]:
    """Pairs of successive revisions, with the marks of the later one."""
    return [pytest.param(*pair, marks=marks_of(pair[1])) for pair in itertools.pairwise(names)]


def marks_of(revision: str) -> list[pytest.MarkDecorator]:
    """The marks of the tests of one revision."""
    if revision in REVISIONS[-_RECENT:]:
        return [pytest.mark.heavy]
    earlier = [] if revision in REVISIONS[-_ON_SERVER:] else [pytest.mark.thorough]
    return [pytest.mark.heavy, pytest.mark.exhaustive, *earlier]


@dataclass(frozen=True)
class Fresh:
    """A new database of the cluster, and the URLs of the two roles."""

    name: str
    owner: str
    app: str
    binaries: Path
    connection: asyncpg.Connection

    async def to(self, revision: str) -> None:
        await migrations.upgrade(owner_url=self.owner, app_url=self.app, to=revision, may_lose_data=True)

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.connection.fetch(statement, *values)
        return rows

    async def schema(self) -> list[str]:
        """The schema as printed by `pg_dump`, sorted, since a restored column is the last one."""
        status, output, errors = await self.run(self.binaries / "pg_dump", "--schema-only", libpq_url(self.owner))
        assert status == 0, errors
        lines = [line.rstrip(",") for line in output.splitlines()]
        # `\restrict` carries a key that differs each time.
        return sorted(line for line in lines if line and not line.startswith(("--", "\\")))

    async def run(self, *command: str | Path, **environment: str) -> tuple[int, str, str]:
        """The exit status of a program in the project's directory, and what it wrote to stdout and stderr.

        It gets DATABASE_URL like every command: without it, commands would use the data directory of the project.
        """
        pipe, variables = asyncio.subprocess.PIPE, {"DATABASE_URL": self.owner} | environment
        process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, env=variables, stdout=pipe, stderr=pipe)
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def start(self, main: Callable[[], object], *arguments: str, **environment: str) -> Forked:
        """A command of the project, in its directory, with only DATABASE_URL set."""
        variables = {"DATABASE_URL": self.owner} | environment
        return await asyncio.to_thread(Forked, main, *arguments, environment=variables, directory=PROJECT)

    async def call(self, main: Callable[[], object], *arguments: str, **environment: str) -> tuple[int, str, str]:
        """The exit status, stdout and stderr of such a command."""
        process = await self.start(main, *arguments, **environment)
        output, errors = await asyncio.to_thread(process.communicate)
        return process.wait(), output, errors


@asynccontextmanager
async def fresh_database(cluster: Cluster, template: str = "template1") -> AsyncIterator[Fresh]:
    """A new database, empty or a copy of one without connections."""
    name = f"fresh{next(_serial)}"
    await _copy(cluster, template, name)
    owner, app = cluster.url(name, "po_owner"), cluster.url(name, "po_app")
    # Plans are not kept: the tables change under them.
    connection = await asyncpg.connect(libpq_url(owner), statement_cache_size=0)
    try:
        yield Fresh(name, owner, app, cluster.binaries, connection)
    finally:
        await connection.close()
        await _as_superuser(cluster, f"DROP DATABASE {name} WITH (FORCE)")


async def _copy(cluster: Cluster, template: str, name: str) -> None:
    await _as_superuser(cluster, copying(template, name))


async def _as_superuser(cluster: Cluster, statement: str) -> None:
    """Execute a statement on a connection of its own: many databases at once have one connection each."""
    async with connected(cluster.url("postgres", "postgres")) as superuser:
        await superuser.execute(statement)


@asynccontextmanager
async def migrated_database(cluster: Cluster, revision: str = HEAD) -> AsyncIterator[Fresh]:
    """A new database at a revision, without rows: a copy, since migrating each one takes much longer."""
    async with fresh_database(cluster, await _template(cluster, revision)) as database:
        yield database


async def _template(cluster: Cluster, revision: str) -> str:
    """The name of a database at the revision, made from the nearest earlier one and kept until the server ends."""
    if revision == "base":
        return "template1"
    made = cluster.templates
    if revision not in made:
        earlier = max((name for name in made if name < revision), default="base")
        name = f"at_{revision}"
        await _copy(cluster, made.get(earlier, "template1"), name)
        owner, app = cluster.url(name, "po_owner"), cluster.url(name, "po_app")
        await migrations.upgrade(owner_url=owner, app_url=app, to=revision)
        made[revision] = name
    return made[revision]


# Values by the name of the column, such that every check of every revision holds; `{n}` differs from row to row.
VALUES = {
    "accent_colour": "'#00aa99'",
    "actor_kind": "'api_key'",
    "actor_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "after": """'{{"total": "1.50"}}'""",
    "approval_limit": "1000.50",
    "approval_round": "2",
    "approver_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "author_ids": "'{{77}}'",
    "author_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "before": "NULL",
    "base_currency": "'EUR'",
    "base_net": "2.50",
    "base_rate": "2",
    "base_rate_date": "DATE '2026-11-22'",
    "base_rate_id": "(SELECT id FROM exchange_rates WHERE organisation_id = {organisation} LIMIT 1)",
    "base_total": "3.00",
    "body": r"'\x00ff'",
    "category_id": "(SELECT id FROM categories WHERE organisation_id = {organisation} LIMIT 1)",
    "content": r"'\x255044460a'",
    "content_hash": "repeat('a', 64)",
    "country": "'DE'",
    "comment_id": "(SELECT max(id) FROM porf_comments WHERE organisation_id = {organisation})",
    "cost_centre": "'4711'",
    "cost_centre_id": "(SELECT id FROM cost_centres WHERE organisation_id = {organisation} LIMIT 1)",
    "cost_centres": "'{{4711}}'",
    "created_by_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "currency": "'GBP'",
    "delivery_address": "NULL",
    "delivery_address_id": "(SELECT id FROM addresses WHERE organisation_id = {organisation} LIMIT 1)",
    "decision": "'approved'",
    "delivery_id": "(SELECT id FROM deliveries WHERE organisation_id = {organisation} LIMIT 1)",
    "digest": "repeat('b', 64)",
    "event_id": "(SELECT max(id) FROM audit_events WHERE organisation_id = {organisation})",
    "feed": "'feed {n}'",
    "document_type": "'porf'",
    "endpoint_id": "'5790000436101'",
    "endpoint_scheme": "'0088'",
    "entity_id": "{n}",
    "footer_lines": "'{{Company,Register}}'",
    "file_id": "(SELECT id FROM purchase_order_files WHERE organisation_id = {organisation} ORDER BY id DESC LIMIT 1)",
    "group_id": "(SELECT id FROM approval_groups WHERE organisation_id = {organisation} LIMIT 1)",
    "headers": """'{{"etag": "1"}}'""",
    "incoterms": "'DAP'",
    "invitation_id": "(SELECT id FROM invitations WHERE organisation_id = {organisation} LIMIT 1)",
    "invited_by_id": "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    "kind": "'issued'",
    "last_seal": "repeat('e', 64)",
    "language": "'de'",
    "lead_id": "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    "max_rate_age_days": "30",
    "locale": "'de'",
    "mail_templates": "'{{}}'",
    "message_id": "(SELECT id FROM webhook_messages WHERE organisation_id = {organisation} LIMIT 1)",
    "name": "'Zoë {n} 株式会社'",
    "name_key": "'zoë {n} 株式会社'",
    "net": "1.25",
    "next_value": "{n}",
    "ordered_quantity": "3.5",
    "organisation_id": "{organisation}",
    "over_order_percent": "10",
    "owner_id": "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    "paper": "'letter'",
    "payment_days": "30",
    "po_prefix": "'B{n}'",
    "porf_id": "(SELECT id FROM porfs WHERE organisation_id = {organisation} ORDER BY id DESC LIMIT 1)",
    "porf_line_id": "(SELECT id FROM porf_lines WHERE organisation_id = {organisation} ORDER BY id DESC LIMIT 1)",
    "porf_prefix": "'P{n}'",
    "position": "{n}",
    "purchase_order_id": "(SELECT id FROM purchase_orders WHERE organisation_id = {organisation}"
    " ORDER BY id DESC LIMIT 1)",
    "purchase_order_line_id": "(SELECT id FROM purchase_order_lines WHERE organisation_id = {organisation}"
    " ORDER BY id DESC LIMIT 1)",
    "purpose": "'orders'",
    "remind_after_hours": "48",
    "escalate_after_hours": "96",
    "policy_id": "(SELECT id FROM approval_policies WHERE organisation_id = {organisation} LIMIT 1)",
    "pool_group_id": "(SELECT id FROM approval_groups WHERE organisation_id = {organisation} LIMIT 1)",
    "principal_id": "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    "quantity": "10.1234",
    "released_quantity": "2",
    "request_hash": "repeat('c', 64)",
    "requested_by_id": "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    "requester_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "revision": "1",
    "roles": "'{{admin,buyer}}'",
    "scopes": "'{{porfs:read}}'",
    "session_id": "(SELECT max(id) FROM sessions)",
    "round": "2",
    "rule_id": "(SELECT id FROM approval_rules WHERE organisation_id = {organisation} LIMIT 1)",
    "run_id": "(SELECT id FROM approval_runs WHERE organisation_id = {organisation} LIMIT 1)",
    "slot_id": "(SELECT id FROM approval_slots WHERE organisation_id = {organisation} LIMIT 1)",
    "step_id": "(SELECT id FROM approval_steps WHERE organisation_id = {organisation} LIMIT 1)",
    "submitted_by_id": "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    "status": "'closed'",
    "supplier_hash": "repeat('d', 128)",
    "supplier_id": "(SELECT id FROM suppliers WHERE organisation_id = {organisation} LIMIT 1)",
    "tax": "0.25",
    "tax_rounding": "'line'",
    "timezone": "'Europe/Berlin'",
    "token": "lpad('{n}', 64, '0')",
    "token_digest": "lpad('{n}', 64, '0')",
    "total": "1.50",
    "unit": "'KGM'",
    "uploaded_by_id": "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    "user_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
}
BY_TYPE = {
    "bytea": r"'\x00ff'",
    "bigint": "{n}",
    "integer": "{n}",
    "numeric": "7.5",
    "text": "'text {n} – ü'",
    "boolean": "true",
    "date": "DATE '2026-12-24'",
    "timestamp with time zone": "TIMESTAMPTZ '2026-11-22 10:00:00.123456+00'",
}
SPECIAL = {
    ("idempotency_records", "status"): "201",
    # Of the user; another one where the trigger of revision 017 has added that member.
    ("members", "user_id"): "(SELECT CASE WHEN EXISTS (SELECT FROM members m WHERE m.user_id = u.id) THEN 1000000 + {n}"
    " ELSE u.id END FROM users u WHERE u.organisation_id = {organisation} LIMIT 1)",
    ("members", "is_active"): "false",
    **{(table, "parent_id"): "NULL" for table in ("cost_centres", "categories", "teams")},
    # That of the texts, so that none is added.
    ("cost_centres", "code_key"): "'4711'",
    # These refer to members, too.
    ("members", "team_id"): "NULL",
    ("members", "default_cost_centre_id"): "NULL",
    # The member that the trigger of revision 017 has added, if it has.
    ("members", "manager_id"): "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    # Without a file, so that there is something to lose.
    ("purchase_order_sheets", "revision"): "2",
    # Exactly queued rows have a next attempt.
    ("document_renderings", "status"): "'failed'",
    ("document_renderings", "next_attempt_at"): "NULL",
    ("document_renderings", "leased_until"): "NULL",
    ("addresses", "kind"): "'delivery'",
    ("porf_comments", "purchase_order_id"): "NULL",
    ("porf_comments", "deleted_at"): "NULL",
    ("porf_comments", "deleted_by_id"): "NULL",
    ("blobs", "size"): "5",
    ("attachments", "purchase_order_id"): "NULL",
    ("attachments", "comment_id"): "NULL",
    ("attachments", "visibility"): "'internal'",
    ("attachments", "frozen_revision"): "NULL",
    ("attachments", "deleted_at"): "NULL",
    ("attachments", "deleted_by_id"): "NULL",
    ("external_references", "entity"): "'supplier'",
    ("external_references", "porf_id"): "NULL",
    ("external_references", "purchase_order_id"): "NULL",
    # Another than that of its request.
    ("purchase_order_lines", "cost_centre"): "'text {n}'",
    ("purchase_order_lines", "tax_category"): "'S'",
    ("purchase_order_lines", "tax_exemption_reason"): "NULL",
    ("purchase_orders", "supplier_hash"): "repeat('e', 512)",
    ("exchange_rates", "source"): "'manual'",
    ("exchange_rates", "rate_date"): "DATE '2026-01-01' + {n}",
    ("document_filings", "status"): "'failed'",
    ("document_filings", "next_attempt_at"): "NULL",
    ("document_filings", "leased_until"): "NULL",
    ("deliveries", "channel"): "'email'",
    ("deliveries", "status"): "'failed'",
    ("deliveries", "next_attempt_at"): "NULL",
    ("deliveries", "leased_until"): "NULL",
    ("deliveries", "bounced_at"): "NULL",
    ("deliveries", "to_addresses"): "'{{orders@supplier.example}}'",
    ("deliveries", "cc_addresses"): "'{{}}'",
    ("deliveries", "body"): "'Text {n}'",
    ("deliveries", "message_id"): "'mail{n}@po.example'",
    ("deliveries", "file_digest"): "NULL",
    (
        "webhook_deliveries",
        "endpoint_id",
    ): "(SELECT id FROM webhook_endpoints WHERE organisation_id = {organisation} LIMIT 1)",
    ("webhook_deliveries", "status"): "'failed'",
    ("webhook_deliveries", "next_attempt_at"): "NULL",
    ("webhook_deliveries", "leased_until"): "NULL",
    ("notifications", "actor_id"): "NULL",
    ("notifications", "data"): "'{{}}'",
    ("notifications", "purchase_order_id"): "NULL",
    ("notifications", "approval_delegation_id"): "NULL",
    ("notification_preferences", "email"): "'digest'",
    ("notification_mails", "kind"): "'single'",
    ("notification_mails", "message_id"): "'mail{n}@po.example'",
    (
        "notification_mails",
        "notification_id",
    ): "(SELECT id FROM notifications WHERE organisation_id = {organisation} LIMIT 1)",
    ("notification_mails", "status"): "'failed'",
    ("notification_mails", "next_attempt_at"): "NULL",
    ("notification_mails", "leased_until"): "NULL",
    ("webhook_endpoints", "disabled_reason"): "NULL",
    ("webhook_endpoints", "disabled_at"): "NULL",
    ("webhook_endpoints", "event_types"): """'{{"porf.created"}}'""",
    ("webhook_messages", "body"): "'{{}}'",
    ("approval_policies", "status"): "'retired'",
    ("approval_policies", "no_rule"): "'refuse'",
    ("approval_policies", "carry"): "'never'",
    (
        "approval_policies",
        "published_by_id",
    ): "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    ("approval_rules", "stage"): "9",
    ("approval_rules", "conditions"): """'{{"total_gte": "1"}}'""",
    ("approval_rules", "approvers"): """'[{{"kind": "role_approver"}}]'""",
    ("approval_rules", "on_empty"): "'group'",
    (
        "approval_rules",
        "on_empty_group_id",
    ): "(SELECT id FROM approval_groups WHERE organisation_id = {organisation} LIMIT 1)",
    ("approval_rules", "escalate_to"): "'group'",
    (
        "approval_rules",
        "escalation_group_id",
    ): "(SELECT id FROM approval_groups WHERE organisation_id = {organisation} LIMIT 1)",
    ("approval_runs", "status"): "'approved'",
    ("approval_runs", "fixed_hash"): "repeat('b', 64)",
    ("added_approvers", "placement"): "'before'",
    ("added_approvers", "added_by_id"): "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    ("approval_steps", "stage"): "9",
    ("approval_steps", "source"): "'rule'",
    ("approval_steps", "kind"): "'pool'",
    ("approval_steps", "pool_role"): "NULL",
    ("approval_steps", "added_by_id"): "NULL",
    ("approval_steps", "status"): "'skipped'",
    ("approval_steps", "skip_reason"): "'on_empty'",
    ("approval_slots", "origin"): "'named'",
    ("approval_slots", "status"): "'approved'",
    (
        "approval_delegations",
        "delegator_id",
    ): "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    (
        "approval_delegations",
        "delegate_id",
    ): "(SELECT user_id FROM members WHERE organisation_id = {organisation} OFFSET 1 LIMIT 1)",
    ("approval_delegations", "starts_at"): "TIMESTAMPTZ '2026-11-01 00:00+00'",
    ("approval_timers", "kind"): "'remind'",
    ("approval_decisions", "source"): "'carried'",
    (
        "approval_decisions",
        "on_behalf_of_id",
    ): "(SELECT user_id FROM members WHERE organisation_id = {organisation} LIMIT 1)",
    ("approval_decisions", "carried_from_id"): "currval(pg_get_serial_sequence('approval_decisions', 'id'))",
    ("invitations", "declined_at"): "NULL",
    ("invitations", "revoked_at"): "NULL",
}

# Parents before their children.
ORDER = (
    "organisations",
    "users",
    "members",
    "cost_centres",
    "categories",
    "teams",
    "approval_groups",
    "approval_group_members",
    "invitations",
    "invitation_addresses",
    "organisation_logos",
    "document_logos",
    "approval_policies",
    "approval_rules",
    "members",  # another one, for the delegation
    "approval_delegations",
    "addresses",
    "suppliers",
    "supplier_contacts",
    "exchange_rates",
    "porfs",
    "porf_lines",
    "number_series",
    "purchase_orders",
    "purchase_order_lines",
    "allocations",
    "purchase_order_files",
    "purchase_order_sheets",
    "document_renderings",
    "external_references",
    "document_filings",
    "filing_folders",
    "deliveries",
    "delivery_links",
    "mail_quotas",
    "added_approvers",
    "approval_runs",
    "approval_steps",
    "approval_slots",
    "approval_timers",
    "approval_decisions",
    "porf_comments",
    "notifications",
    "notification_preferences",
    "notification_mails",
    "comment_mentions",
    "blobs",
    "attachments",
    "audit_events",
    "event_outbox",
    "event_feeds",
    "event_log",
    "webhook_endpoints",
    "webhook_messages",
    "webhook_deliveries",
    "idempotency_records",
    "sessions",
    "rotated_tokens",
    "sign_in_attempts",
    "sign_in_codes",
    "used_id_tokens",
    "api_keys",
    "worker_tasks",
)


async def columns_of(database: Fresh) -> dict[str, dict[str, str]]:
    """The types of the columns of every table but those of the migrations themselves."""
    found: dict[str, dict[str, str]] = {}
    rows = await database.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name NOT IN ('alembic_version', 'schema_info') ORDER BY column_name"
    )
    for row in rows:
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    return found


def _insert(table: str, columns: dict[str, str], organisation: int) -> str:
    names = [name for name in columns if name != "id"]
    values = [SPECIAL.get((table, name)) or VALUES.get(name) or BY_TYPE[columns[name]] for name in names]
    number = 100 + next(_serial)
    filled = ", ".join(value.format(n=number, organisation=organisation) for value in values)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({filled})"


async def insert_everywhere(database: Fresh, organisations: int = 2) -> None:
    """A row with all columns filled in every table of the current revision, for each of some new organisations."""
    columns = await columns_of(database)
    assert columns.keys() <= set(ORDER)
    for _ in range(organisations):
        await database.fetch(_insert("organisations", columns["organisations"], 0))
        (row,) = await database.fetch("SELECT max(id) AS id FROM organisations")
        others = [_insert(table, columns[table], row["id"]) for table in ORDER[1:] if table in columns]
        # In one message: most of the time would be that of the messages.
        await database.connection.execute("; ".join(others))


async def content_of(database: Fresh, columns: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """The rows of each table as text, by these columns."""
    parts = [f"SELECT '{table}', ROW({', '.join(names)})::text FROM {table}" for table, names in columns.items()]
    content: dict[str, list[str]] = {table: [] for table in columns}
    for table, row in await database.fetch(f"{' UNION ALL '.join(parts)} ORDER BY 1, 2"):
        content[table].append(row)
    return content


def common_columns(some: dict[str, dict[str, str]], others: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {
        table: {name: kind for name, kind in names.items() if name in others[table]}
        for table, names in some.items()
        if table in others
    }


async def assert_sound(database: Fresh, revision: str = HEAD) -> None:
    """At the revision, without an invalid index or a constraint that was never validated."""
    assert [row["version_num"] for row in await database.fetch("SELECT version_num FROM alembic_version")] == [revision]
    assert await database.fetch("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid") == []
    assert await database.fetch("SELECT conname FROM pg_constraint WHERE NOT convalidated") == []


def printed_sql(tmp_path: Path, revisions: str, project: Path = PROJECT) -> Path:
    """The SQL of some revisions, printed without a database."""
    path = tmp_path / "upgrade.sql"
    path.unlink(missing_ok=True)
    process = ForkedServer(alembic, "upgrade", revisions, "--sql", environment={}, directory=project, log=path)
    assert process.wait() == 0, path.read_text()
    return path


async def run_sql(database: Fresh, path: Path) -> None:
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={path}")
    status, _, errors = await database.run(database.binaries / "psql", *options, libpq_url(database.owner))
    assert status == 0, errors


def squawk(path: Path, excluded: list[str]) -> tuple[int, str]:
    """squawk's exit status and messages for the SQL of a file."""
    command = [BINARIES / "squawk", "--pg-version=15.0", "--reporter=gcc", f"--exclude={','.join(excluded)}", path]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout


def po_api_of() -> None:
    """`po-api` with the revisions in the directory of the first argument."""
    revisions.PROJECT = Path(sys.argv.pop(1))
    po_api()


def alembic_until() -> None:
    """`alembic` that dies by SIGKILL right after its n-th statement that begins with none of some words.

    The first argument is n, the second the words in JSON; the others are those of `alembic`.
    """
    last, reading = int(sys.argv.pop(1)), tuple(json.loads(sys.argv.pop(1)))
    done = 0

    @event.listens_for(Engine, "after_cursor_execute")
    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal done
        done += not statement.lstrip().startswith(reading)
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    alembic()
