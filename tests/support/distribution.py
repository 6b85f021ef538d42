"""What a database that is distributed by organisation (Citus) refuses, or executes on all servers.

Statements are parsed, not executed: `obstacles` finds in SQL what docs/development/writing.md rules out.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import pglast
from pglast import parse_plpgsql, parse_sql
from pglast.enums import A_Expr_Kind, AlterTableType, BoolExprType, ConstrType, JoinType, LockClauseStrength

from support.tenant_tables import GLOBAL_TABLES, TENANT_SETTING, TENANT_TABLES

TENANT = frozenset(table.name for table in TENANT_TABLES)
GLOBAL = frozenset(table.name for table in GLOBAL_TABLES)
# Those whose ids a sequence gives, which each server has for itself.
WITH_IDENTITY = frozenset(table.name for table in TENANT_TABLES if table.c.get("id", None) is not None)
# Global tables that are on every server; the others are on the coordinator only.
REFERENCE = frozenset({"organisations"})
# Functions that read tables of organisations: a statement on such tables cannot call them.
READING = frozenset({"creation_rules", "member_of", "open_invitations"})
_TIMES = frozenset({"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp"})
# The application knows that where the database is distributed, and executes them first (db/search.py).
SEARCHING = frozenset({"search_porfs", "search_purchase_orders", "search_suppliers"})
# Functions that read the tables on all servers, for the worker.
OF_ALL = "organisations_"
_DISTRIBUTES = re.compile(r"create_distributed_table\('(\w+)', 'organisation_id'")
_STATEMENT = 0  # PL/pgSQL's parse modes: a statement, otherwise an expression
_PLAIN = {bool, int, float, str, dict, Decimal}
_KNOWS_NULL = (A_Expr_Kind.AEXPR_DISTINCT, A_Expr_Kind.AEXPR_NOT_DISTINCT)
_SHARED = (LockClauseStrength.LCS_FORSHARE, LockClauseStrength.LCS_FORKEYSHARE)

# Not by their classes, in which every attribute is optional.
Node = Any
ast: Any = pglast.ast


@dataclass(frozen=True)
class _Source:
    """An item of a FROM, or the target of a change: a table, or None for anything else."""

    alias: str
    table: str | None


def obstacles(sql: str, *, in_function: bool = False, is_distributed: bool = False) -> list[str]:
    """Each obstacle in a message of one or more statements.

    `in_function`: names that are no columns are variables. `is_distributed`: the application knew that the database is.
    """
    statements = [item.stmt for item in parse_sql(sql)]
    found = [*_in_message(statements)]
    for statement in statements:
        found += _in_statement(statement, frozenset(), is_variable=in_function)
        found += _in_whole(statement, READING | SEARCHING if is_distributed else READING)
    return found


def function_obstacles(sql: str) -> list[str]:
    """Each obstacle in the statements of a CREATE FUNCTION; in PL/pgSQL also in those that EXECUTE has as a text."""
    found: list[str] = []
    for kind, expression in _expressions(parse_plpgsql(sql)):
        query = expression if kind == _STATEMENT else f"SELECT {expression.partition(':=')[2] or expression}"
        found += obstacles(query, in_function=True)
        for text in _nodes(parse_sql(query)[0].stmt, ast.String):
            if text.sval.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
                found += obstacles(_filled(text.sval))
    return found


def _filled(template: str) -> str:
    """The template of a statement for PostgreSQL's format(), as a statement about an unknown table."""
    return template.replace("%I", "some_table").replace("%s", "true").replace("%L", "NULL")


def revision_obstacles(sql: str) -> list[str]:
    """Each obstacle in the SQL of revisions, as `alembic upgrade --sql` prints it."""
    found: list[str] = []
    distributed: set[str] = set()
    created: set[str] = set()
    functions: dict[str, list[str]] = {}  # by name, as the last revision has made them
    text = sql.encode()
    for item in parse_sql(sql):
        statement, start = item.stmt, item.stmt_location or 0
        source = text[start : start + item.stmt_len].decode() if item.stmt_len else text[start:].decode()
        distributed |= set(_DISTRIBUTES.findall(source))
        if isinstance(statement, ast.CreateStmt):
            created |= {statement.relation.relname} if _is_of_tenant(statement) else set()
        if isinstance(statement, ast.CreateFunctionStmt):
            functions[_name(statement.funcname)] = _in_function(statement, source)
        found += _in_revision(statement, source)
    found += [obstacle for obstacles_ in functions.values() for obstacle in obstacles_]
    found += [f"{table} is not distributed: use ddl.create_tenant_table" for table in sorted(created - distributed)]
    return found


def _in_function(statement: Node, source: str) -> list[str]:
    name, options = _name(statement.funcname), {item.defname: item.arg for item in statement.options}
    if options["language"].sval == "plpgsql":
        return [] if name.startswith(OF_ALL) else function_obstacles(source)
    body = options["as"][0].sval
    tables = {item.relname for query in parse_sql(body) for item in _nodes(query.stmt, ast.RangeVar)}
    if statement.parameters and tables & TENANT:
        return [f"{name} reads {sorted(tables & TENANT)} with parameters: use PL/pgSQL"]
    return []


def _in_revision(statement: Node, source: str) -> Iterator[str]:
    if isinstance(statement, ast.CreateTrigStmt):
        yield f"trigger {statement.trigname}"
    if isinstance(statement, ast.DoStmt) and "ctid" in source:
        yield "backfill by ctid: use ddl.backfill_by_key"
    if isinstance(statement, ast.AlterTableStmt):
        kinds = [command.subtype for command in statement.cmds]
        if AlterTableType.AT_AddConstraint in kinds and len(kinds) > 1:
            yield f"ADD CONSTRAINT with other subcommands on {statement.relation.relname}"
    if isinstance(statement, ast.CreateStmt | ast.AlterTableStmt):
        yield from _in_references(statement)


def _in_references(statement: Node) -> Iterator[str]:
    table = statement.relation.relname
    for constraint in _nodes(statement, ast.Constraint):
        if constraint.contype == ConstrType.CONSTR_FOREIGN:
            if isinstance(statement, ast.CreateStmt) and _is_of_tenant(statement):
                yield f"{table} refers to other tables before it is distributed: use ddl.create_tenant_table"
            elif constraint.pktable.relname in TENANT | REFERENCE and not _is_known_tenant(statement):
                yield f"the global table {table} refers to {constraint.pktable.relname}"


def _is_known_tenant(statement: Node) -> bool:
    """An altered table is one of organisations unless it is known to be global."""
    return isinstance(statement, ast.AlterTableStmt) and statement.relation.relname not in GLOBAL


def _is_of_tenant(statement: Node) -> bool:
    """Whether the organisation leads the primary key of a new table."""
    keys = [item for item in _nodes(statement, ast.Constraint) if item.contype == ConstrType.CONSTR_PRIMARY]
    leading = {key.keys[0].sval for key in keys if key.keys}
    return leading == {"organisation_id"} and statement.relation.relname not in GLOBAL


def _expressions(node: Any) -> Iterator[tuple[int, str]]:
    """The kind and the text of each statement and expression of a parsed function."""
    if isinstance(node, list):
        for item in node:
            yield from _expressions(item)
    elif isinstance(node, dict):
        if "query" in node and isinstance(node["query"], str):
            yield node.get("parseMode", _STATEMENT), node["query"]
        for item in node.values():
            yield from _expressions(item)


def _in_message(statements: list[Node]) -> Iterator[str]:
    for position, statement in enumerate(statements):
        if isinstance(statement, ast.VariableSetStmt) and statement.name == TENANT_SETTING:
            yield "SET of the tenant takes its whole message to the other servers: call enter_tenant"
        calls = {_name(call.funcname): call.args for call in _nodes(statement, ast.FuncCall)}
        if any(text.sval == TENANT_SETTING for text in _nodes(calls.get("set_config"), ast.String)):
            yield "set_config does not reach the other servers: call enter_tenant"
        if "enter_tenant" in calls and position != len(statements) - 1:
            yield "a statement after enter_tenant in the same message"


def _in_whole(statement: Node, reading: frozenset[str]) -> Iterator[str]:
    """What concerns a statement with all that it contains."""
    tables = _names(statement)
    calls = {_name(call.funcname) for call in _nodes(statement, ast.FuncCall)}
    if tables & TENANT and calls & reading:
        yield f"{sorted(calls & reading)} would read distributed tables from another server"
    if tables & TENANT and tables & (GLOBAL - REFERENCE):
        yield f"{sorted(tables & (GLOBAL - REFERENCE))} are not on the servers of {sorted(tables & TENANT)}"


def _in_statement(statement: Node, known: frozenset[str], *, is_variable: bool) -> Iterator[str]:
    """What concerns each SELECT, INSERT, UPDATE and DELETE by itself; `known` are the names of CTEs."""
    ctes = [*statement.withClause.ctes] if getattr(statement, "withClause", None) else []
    known |= {cte.ctename for cte in ctes}
    for cte in ctes:
        yield from _in_statement(cte.ctequery, known, is_variable=is_variable)
    for part in (getattr(statement, "larg", None), getattr(statement, "rarg", None)):
        if isinstance(statement, ast.SelectStmt) and part is not None:
            yield from _in_statement(part, known, is_variable=is_variable)
    if getattr(getattr(statement, "relation", None), "relname", None) in TENANT and _tells_time_in_case(statement):
        yield f"a function of the time in a CASE or COALESCE of a change of {statement.relation.relname}"
    if isinstance(statement, ast.InsertStmt):
        yield from _in_insert(statement, known)
        if statement.selectStmt is not None:
            yield from _in_statement(statement.selectStmt, known, is_variable=is_variable)
    elif isinstance(statement, ast.SelectStmt | ast.UpdateStmt | ast.DeleteStmt):
        sources = [*_sources(statement, known)]
        yield from _uncompared(statement, sources, is_variable=is_variable)
        yield from _locked(statement, sources)
        for source in _global_left_joins(statement):
            yield f"a global table LEFT JOIN {source}: use a scalar subquery"
        yield from _outer_joins_by_parameters(statement)
    for query in _subqueries(statement):
        yield from _in_statement(query, known, is_variable=is_variable)


def _in_insert(statement: Node, known: frozenset[str]) -> Iterator[str]:
    table = statement.relation.relname
    if table not in TENANT:
        return
    names = [target.name for target in statement.cols or ()]
    if "organisation_id" not in names:
        yield f"INSERT INTO {table} without organisation_id"
    if _shifts_times(getattr(statement.onConflictClause, "whereClause", None)):
        yield f"INSERT INTO {table} … ON CONFLICT … WHERE with a time shifted by an interval: compare the difference"
    select = statement.selectStmt
    if select is None or select.valuesLists:
        return
    if not _returns(statement):
        yield f"INSERT INTO {table} … SELECT without RETURNING"
    if [*_nodes(statement.onConflictClause, ast.ParamRef)]:
        yield f"INSERT INTO {table} … SELECT … ON CONFLICT with a parameter: use excluded"
    # Not those of scalar subqueries, which only combined statements have: these are not sent to several servers.
    read = {item.relname for part in (select.fromClause, select.whereClause) for item in _nodes(part, ast.RangeVar)}
    if read & TENANT - known:
        yield from _in_insert_from_tables(table, dict(zip(names, select.targetList or (), strict=False)))


def _in_insert_from_tables(table: str, values: dict[str, Node]) -> Iterator[str]:
    """What concerns an INSERT of rows that it selects from tables of organisations: their server inserts them."""
    if table in WITH_IDENTITY and "id" not in values:
        yield f"INSERT INTO {table} … SELECT would take ids from another server: select first, then insert from JSON"
    organisation = values.get("organisation_id")
    if organisation is not None and _is_value(organisation.val, set(), is_variable=False):
        yield f"INSERT INTO {table} … SELECT with organisation_id from a parameter instead of the other table"


def _tells_time_in_case(statement: Node) -> bool:
    cases = [*_nodes(statement, ast.CaseExpr), *_nodes(statement, ast.CoalesceExpr)]
    called = {_name(call.funcname) for case in cases for call in _nodes(case, ast.FuncCall)}
    return bool(called & _TIMES) or any([*_nodes(case, ast.SQLValueFunction)] for case in cases)


def _shifts_times(condition: Node) -> bool:
    """Whether an interval is added or subtracted: the result depends on the session's time zone."""
    return any(
        isinstance(side, ast.TypeCast) and _name(side.typeName.names) == "interval"
        for item in _nodes(condition, ast.A_Expr)
        if _name(item.name) in {"+", "-"}
        for side in (item.lexpr, item.rexpr)
    )


def _returns(statement: Node) -> bool:
    clause = getattr(statement, "returningClause", None)
    return clause is not None and bool(clause.exprs)


def _uncompared(statement: Node, sources: list[_Source], *, is_variable: bool) -> Iterator[str]:
    aliases = {source.alias for source in sources}
    compared = {
        alias
        for condition in _conditions(statement)
        for alias in _compared(condition, aliases, is_variable=is_variable)
    }
    for source in sources:
        names = {source.alias, ""} if len([item for item in sources if item.table]) == 1 else {source.alias}
        if source.table in TENANT and not compared & names:
            yield f"{source.alias} ({source.table}) is not compared with :organisation_id in its own SELECT"


def _compared(condition: Node, aliases: set[str], *, is_variable: bool) -> Iterator[str]:
    """The tables whose organisation a condition compares with a value; "" for a column without a table."""
    if not isinstance(condition, ast.A_Expr) or _name(condition.name) != "=":
        return
    for column, value in ((condition.lexpr, condition.rexpr), (condition.rexpr, condition.lexpr)):
        *table, name = _fields(column) or [""]
        if name == "organisation_id" and _is_value(value, aliases, is_variable=is_variable):
            yield table[0] if table else ""


def _is_value(node: Node, aliases: set[str], *, is_variable: bool) -> bool:
    if isinstance(node, ast.TypeCast):
        return _is_value(node.arg, aliases, is_variable=is_variable)
    fields = _fields(node)
    return isinstance(node, ast.ParamRef | ast.A_Const) or bool(is_variable and fields and fields[0] not in aliases)


def _locked(statement: Node, sources: list[_Source]) -> Iterator[str]:
    for clause in getattr(statement, "lockingClause", None) or ():
        names = {item.relname for item in clause.lockedRels or ()}
        locked = {source.table for source in sources if source.table and (not names or source.alias in names)}
        others = {source.table for source in sources if source.table} - locked
        if locked & REFERENCE and (clause.strength in _SHARED or others or len(locked) > 1):
            yield f"FOR … on {sorted(locked & REFERENCE)} locks the table on all servers"
        elif locked & GLOBAL and (others | locked) & TENANT:
            yield f"FOR … on {sorted(locked & GLOBAL)} together with tables of organisations"


def _global_left_joins(statement: Node) -> Iterator[str]:
    for item in getattr(statement, "fromClause", None) or ():
        for join in _joins(item):
            if join.jointype != JoinType.JOIN_INNER:
                left, right = _names(join.larg), _names(join.rarg)
                if left & GLOBAL and not left & TENANT:
                    yield from sorted(right & TENANT)


def _outer_joins_by_parameters(statement: Node) -> Iterator[str]:
    """With NULL as the parameter the whole condition is false, and Citus misses the organisation in it."""
    for item in getattr(statement, "fromClause", None) or ():
        for join in _joins(item):
            is_outer = join.jointype != JoinType.JOIN_INNER and _names(join) & TENANT
            for condition in _conjuncts(join.quals) if is_outer else ():
                if isinstance(condition, ast.NullTest) and _is_parameter(condition.arg):
                    yield "an outer join whose condition tests a parameter for NULL"
                elif isinstance(condition, ast.A_Expr) and condition.kind not in _KNOWS_NULL:
                    sides = (condition.lexpr, condition.rexpr)
                    if any(map(_is_parameter, sides)) and not any(_is_organisation(side) for side in sides):
                        yield "an outer join by a parameter: with NULL it is refused; use a LATERAL subquery"


def _is_parameter(node: Node) -> bool:
    return _is_parameter(node.arg) if isinstance(node, ast.TypeCast) else isinstance(node, ast.ParamRef)


def _is_organisation(node: Node) -> bool:
    return _fields(node)[-1:] == ["organisation_id"]


def _joins(item: Node) -> Iterator[Node]:
    if isinstance(item, ast.JoinExpr):
        yield item
        yield from _joins(item.larg)
        yield from _joins(item.rarg)


def _sources(statement: Node, known: frozenset[str]) -> Iterator[_Source]:
    if isinstance(statement, ast.UpdateStmt | ast.DeleteStmt):
        yield from _tables(statement.relation, known)
    for name in ("fromClause", "usingClause"):
        for item in getattr(statement, name, None) or ():
            yield from _tables(item, known)


def _tables(item: Node, known: frozenset[str]) -> Iterator[_Source]:
    if isinstance(item, ast.JoinExpr):
        yield from _tables(item.larg, known)
        yield from _tables(item.rarg, known)
    elif isinstance(item, ast.RangeVar):
        alias = item.alias.aliasname if item.alias else item.relname
        yield _Source(alias, None if item.relname in known else item.relname)
    elif getattr(item, "alias", None):
        yield _Source(item.alias.aliasname, None)


def _conditions(statement: Node) -> Iterator[Node]:
    """The conditions that hold for every row: those of WHERE and of joins, connected by AND."""
    yield from _conjuncts(statement.whereClause)
    for item in getattr(statement, "fromClause", None) or getattr(statement, "usingClause", None) or ():
        for join in _joins(item):
            yield from _conjuncts(join.quals)


def _conjuncts(condition: Node) -> Iterator[Node]:
    if isinstance(condition, ast.BoolExpr) and condition.boolop == BoolExprType.AND_EXPR:
        for part in condition.args:
            yield from _conjuncts(part)
    elif condition is not None:
        yield condition


def _subqueries(statement: Node) -> Iterator[Node]:
    """The SELECTs directly inside of a statement, but for its CTEs and the parts of a UNION."""
    for name in statement:
        if name not in {"withClause", "larg", "rarg", "selectStmt"}:
            yield from _selects(getattr(statement, name))


def _selects(node: Node) -> list[Node]:
    return [item for item in _walk(node, [], stop=ast.SelectStmt) if isinstance(item, ast.SelectStmt)]


def _nodes(node: Node, kind: type) -> list[Any]:
    """All nodes of a kind, at any depth."""
    return [item for item in _walk(node, []) if isinstance(item, kind)]


def _walk(node: Node, found: list[Node], stop: type | tuple[()] = ()) -> list[Node]:
    """Add a node and all those in it, in the order of the text, without those in nodes of the kind `stop`."""
    if isinstance(node, tuple):
        for item in node:
            _walk(item, found, stop)
    elif node is not None:
        found.append(node)
        if not isinstance(node, stop):
            for name in _parts(node.__class__):
                if (held := getattr(node, name)) is not None:
                    _walk(held, found, stop)
    return found


@cache
def _parts(kind: Any) -> tuple[str, ...]:
    """The attributes of a kind of nodes that may hold nodes; most hold numbers, texts and flags."""
    if not issubclass(kind, ast.Node):
        return ()
    held = {name: {*types} if isinstance(types, tuple) else {types} for name, (_, types, _) in kind.__slots__.items()}
    return tuple(name for name, types in held.items() if not types <= _PLAIN)


def _names(node: Node) -> set[str]:
    """The tables and CTEs that are read or changed, at any depth."""
    return {item.relname for item in _nodes(node, ast.RangeVar)}


def _fields(node: Node) -> list[str]:
    """The parts of a column's name."""
    if not isinstance(node, ast.ColumnRef):
        return []
    return [item.sval for item in node.fields if isinstance(item, ast.String)]


def _name(parts: Iterable[Node]) -> str:
    *_, last = parts
    return str(last.sval)
