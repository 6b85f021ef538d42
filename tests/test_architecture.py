"""The rules of the architecture: imports, conventions of routes, conventions of tables."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import BigInteger, Column, Float, ForeignKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import RelationshipProperty

from po_api.db.models import Base
from po_api.tables import metadata
from support.operations import ANSWERS_WITH_SECRETS, PUBLIC, operations
from support.tenant_tables import GLOBAL_TABLES, TENANT_TABLES

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "po_api"
MAX_LINES = 400

# Sessions and keys have no version: they are live or not. Copies and comments do not change the request, and neither a
# test nor what is sent again changes the settings of a webhook endpoint. External references are added and deleted,
# never changed.
WITHOUT_VERSION = {
    "revokeCurrentSession",
    "revokeSession",
    "revokeAllSessions",
    "rotateApiKey",
    "revokeApiKey",
    "copyPorf",
    "addPorfComment",
    "addPurchaseOrderComment",
    # Files are added and deleted, never changed.
    *("addPorfFile", "deletePorfFile", "addPurchaseOrderFile", "deletePurchaseOrderFile"),
    "putExternalReference",
    # It changes nothing.
    "simulateApprovalPolicy",
    "deleteExchangeRate",
    "deleteExternalReference",
    # What a member has read can only become read.
    "readNotification",
    # A delegation changes once: it is revoked.
    "revokeApprovalDelegation",
    # A filing is changed by workers only.
    "retryFiling",
    # Deliveries are changed by workers, and have no fields that a member could change.
    "retryDelivery",
    "cancelDelivery",
    "markDeliveryBounced",
    "testWebhookEndpoint",
    "replayWebhookEvents",
    "retryWebhookDelivery",
}

# One line for each contract of pyproject.toml, added to the file, breaks it.
VIOLATIONS = {
    "Features import downward only": ("users/service.py", "import po_api.porfs.service"),
    "Inside a feature, layers import downward only": ("porfs/domain.py", "import po_api.porfs.models"),
    "Mail has no routes: its rules and messages are below what hands them over": (
        "mail/domain.py",
        "import po_api.mail.messages",
    ),
    "Services, repositories, models, domains and core know no web framework": (
        "suppliers/service.py",
        "from fastapi import Request",
    ),
    "Schemas are for routers and the command line": ("sessions/dependencies.py", "import po_api.sessions.schemas"),
    "Only sessions.tokens and filing.assertions import jose": ("web/dependencies.py", "from jose import jwt"),
    **{
        f"The repository of {feature} is private": ("operations/demo.py", f"import po_api.{feature}.repository")
        for feature in (
            "organisations",
            "members",
            "users",
            "sessions",
            "api_keys",
            "addresses",
            "structure",
            "approval_policies",
            "exchange_rates",
            "external_references",
            "approval_policies",
            "suppliers",
            "files",
            "porfs",
            "purchase_orders",
            "deliveries",
            "notifications",
            "filing",
            "webhooks",
        )
    },
}


def _lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", program, "--no-cache", "--no-logo"]
    return subprocess.run(
        command, cwd=directory, env={"PYTHONPATH": str(directory / "src")}, capture_output=True, text=True, check=False
    )


def test_imports_keep_the_contracts() -> None:
    result = _lint_imports(PROJECT)
    assert result.returncode == 0, result.stdout
    assert f"Contracts: {len(VIOLATIONS)} kept, 0 broken." in result.stdout


def test_each_contract_breaks_when_its_rule_is_broken(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for file, line in VIOLATIONS.values():
        with (tmp_path / "src" / "po_api" / file).open("a") as module:
            module.write(f"{line}\n")
    result = _lint_imports(tmp_path)
    assert result.returncode == 1, result.stderr
    assert sorted(re.findall(r"^(.+) BROKEN", result.stdout, re.MULTILINE)) == sorted(VIOLATIONS)


def test_a_module_without_a_layer_is_refused(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (tmp_path / "src" / "po_api" / "users" / "helpers.py").touch()
    result = _lint_imports(tmp_path)
    assert result.returncode == 1, result.stderr
    assert "po_api.users.helpers" in result.stdout


def _modules() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), path.read_text()


@cache
def _called() -> dict[str, set[str]]:
    """The names that each module calls, and all names that it imports."""
    return {module: _called_in(source) for module, source in _modules()}


def _called_in(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            function = node.func
            names.add(function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", ""))
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.name for alias in node.names)
    return names


def test_only_money_rounds() -> None:
    rounding = {
        module
        for module, called in _called().items()
        if any(name in {"quantize", "round", "to_integral_value"} or name.startswith("ROUND_") for name in called)
    }
    assert rounding == {"core/money.py", "db/money_sql.py"}


def test_only_the_request_and_the_migrations_commit() -> None:
    committing = {module for module, called in _called().items() if "commit" in called}
    assert committing == {"web/unit_of_work.py", "operations/migrations.py"}


def test_no_module_is_too_long() -> None:
    assert [module for module, source in _modules() if source.count("\n") > MAX_LINES] == []


# The tests themselves


class _TestFile(NamedTuple):
    path: Path
    imported: set[str]
    # The lines of its loops without a deadline.
    endless: list[int]


@cache
def _test_files() -> list[_TestFile]:
    return [_looked_at(path) for path in sorted((PROJECT / "tests").rglob("*.py"))]


def _looked_at(path: Path) -> _TestFile:
    imported: set[str] = set()
    endless = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
        elif isinstance(node, ast.While) and not _checks_a_deadline(node):
            endless.append(node.lineno)
    return _TestFile(path, imported, endless)


def _checks_a_deadline(loop: ast.While) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith("deadline.check") for node in ast.walk(loop)
    )


def test_no_test_module_imports_another() -> None:
    files = _test_files()
    tests = {file.path.stem for file in files if file.path.parent.name != "support"}
    found = [(file.path.name, name) for file in files for name in file.imported if name.rpartition(".")[2] in tests]
    assert found == []


def test_every_open_loop_of_the_tests_has_a_deadline() -> None:
    assert [f"{file.path.name}:{line}" for file in _test_files() for line in file.endless] == []


def _headers(operation: dict[str, Any]) -> dict[str, bool]:
    parameters = operation.get("parameters", [])
    return {item["name"]: item["required"] for item in parameters if item["in"] == "header"}


async def test_every_operation_requires_a_token_or_is_a_known_public_one(app: FastAPI) -> None:
    everywhere = app.openapi().get("security", [])
    public = {item["operationId"] for _, _, item in operations(app) if not item.get("security", everywhere)}
    assert public == PUBLIC


async def test_every_operation_with_security_refuses_a_request_without_a_token(app: FastAPI, client: Any) -> None:
    for method, path, operation in operations(app):
        if operation["operationId"] not in PUBLIC:
            response = await client.request(method, re.sub(r"{\w+}", "1", path), headers={"If-Match": '"1"'})
            assert response.status_code == 401, (method, path, response.text)


async def test_every_post_takes_an_idempotency_key(app: FastAPI) -> None:
    without = {
        operation["operationId"]
        for method, _, operation in operations(app)
        if method == "POST" and _headers(operation).get("Idempotency-Key") is not False
    }
    # Suppliers have no user whose keys these could be; confirming twice changes nothing.
    assert without == ANSWERS_WITH_SECRETS | {"viewLinkedOrder"}


async def test_every_change_of_something_versioned_requires_if_match(app: FastAPI) -> None:
    without = {
        operation["operationId"]
        for method, path, operation in operations(app)
        if (method in {"PATCH", "PUT", "DELETE"} or (method == "POST" and "}/" in path))
        and not _headers(operation).get("If-Match")
    }
    assert without == WITHOUT_VERSION


async def test_operation_ids_are_unique_camel_case(app: FastAPI) -> None:
    names = [operation["operationId"] for _, _, operation in operations(app)]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)] == []


@pytest.mark.parametrize("table", TENANT_TABLES, ids=str)
def test_a_tenant_table_leads_every_key_with_the_organisation(table: Table) -> None:
    for columns in _indexed(table):
        assert columns[0] == "organisation_id", columns
    for key in _foreign_keys(table):
        assert key.column_keys[0] == "organisation_id", key.name
        assert key.referred_table.name == "organisations" or key.elements[0].column.name == "organisation_id"


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_no_foreign_key_sets_null_and_each_has_an_index(table: Table) -> None:
    for key in _foreign_keys(table):
        assert key.ondelete in (None, "CASCADE"), key.name
        width = len(key.column_keys)
        assert any(columns[:width] == list(key.column_keys) for columns in _indexed(table)), key.name


@pytest.mark.parametrize("table", GLOBAL_TABLES, ids=str)
def test_a_global_table_refers_to_no_tenant_table(table: Table) -> None:
    assert not {key.referred_table for key in _foreign_keys(table)} & set(TENANT_TABLES)


def _indexed(table: Table) -> list[list[str]]:
    """The columns of the primary key, of each unique constraint and of each index."""
    keys = [[column.name for column in table.primary_key.columns]]
    keys += [
        [column.name for column in item.columns] for item in table.constraints if isinstance(item, UniqueConstraint)
    ]
    return keys + [[column.name for column in index.columns] for index in table.indexes]


def _foreign_keys(table: Table) -> list[ForeignKeyConstraint]:
    return sorted(table.foreign_key_constraints, key=lambda key: str(key.name))


def _columns() -> Iterator[Column[Any]]:
    for table in metadata.sorted_tables:
        yield from table.columns


def test_ids_are_bigint_identities() -> None:
    for column in _columns():
        if column.name == "id":
            assert isinstance(column.type, BigInteger), column
            assert column.identity is not None, column
            assert column.identity.always, column
        if column.name.endswith("_id") and column.foreign_keys:
            assert isinstance(column.type, BigInteger), column


def test_no_column_is_a_float_or_a_time_without_zone() -> None:
    for column in _columns():
        assert not isinstance(column.type, Float), column
        assert getattr(column.type, "timezone", True), column
        assert not column.name.endswith("_at") or isinstance(column.type, TIMESTAMP), column


def test_no_relationship_loads_by_itself() -> None:
    relationships: list[RelationshipProperty[Any]] = [
        relationship for mapper in Base.registry.mappers for relationship in mapper.relationships
    ]
    assert {relationship.lazy for relationship in relationships} == {"raise"}


async def test_the_database_has_no_triggers_of_its_own(owner: asyncpg.Connection) -> None:
    triggers = "SELECT tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE NOT tgisinternal"
    assert await owner.fetch(f"{triggers} AND relnamespace = 'public'::regnamespace") == []


async def test_every_tenant_table_and_no_other_has_row_level_security(owner: asyncpg.Connection) -> None:
    enabled = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relrowsecurity AND NOT relforcerowsecurity"
        " AND relnamespace = 'public'::regnamespace"
    )
    assert {row["relname"] for row in enabled} == {table.name for table in TENANT_TABLES}
    policies = await owner.fetch("SELECT tablename, cmd, permissive, qual, with_check FROM pg_policies")
    assert sorted(row["tablename"] for row in policies) == sorted(table.name for table in TENANT_TABLES)
    (rule,) = {row["qual"] for row in policies}
    assert "organisation_id" in rule
    assert "app.organisation_id" in rule
    assert {(row["cmd"], row["permissive"], row["with_check"]) for row in policies} == {("ALL", "PERMISSIVE", rule)}


async def test_functions_above_the_policies_have_a_fixed_search_path(owner: asyncpg.Connection) -> None:
    functions = await owner.fetch(
        "SELECT proname, proconfig, prosecdef FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND proname NOT LIKE 'vector%' AND prosecdef"
    )
    searches = {"search_porfs", "search_purchase_orders", "search_suppliers"}
    shares = {f"{search}_share" for search in searches}
    work = {"organisations_with_work", "organisations_behind_feed", "work_in", "oldest_waiting_event"}
    work |= {"organisations_with_notifications"}
    work |= {"organisations_with_due_timers", "organisations_with_vacancies"}
    assert {row["proname"] for row in functions} == searches | shares | work | {"member_of", "open_invitations"}
    for row in functions:
        assert [setting.split("=")[0] for setting in row["proconfig"]] == ["search_path"], row["proname"]


async def test_there_are_no_views_that_could_look_past_the_policies(owner: asyncpg.Connection) -> None:
    views = "SELECT relname FROM pg_class c WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace"
    of_no_extension = "NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
    assert await owner.fetch(f"{views} AND {of_no_extension}") == []
