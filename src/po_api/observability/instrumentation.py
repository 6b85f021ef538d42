"""Durations of statements by name, slow statements and database errors, as metrics, log lines and spans.

The name is that of the query, such as `porfs.list`; for statements of the ORM it is the table and the kind, such as
`users.insert`. Parameters are in no log line, label or span.
"""

from collections.abc import Awaitable, Sequence
from functools import cache
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import Histogram
from sqlalchemy import Engine, Select, UpdateBase, event
from sqlalchemy.engine import ExceptionContext

from po_api.core.sqlstate import CONNECTION_LOST, sqlstate_of
from po_api.observability import metrics, shortages, tracing
from po_api.observability.logging import get_logger

T = TypeVar("T")

_KINDS = frozenset({"select", "insert", "update", "delete"})
_BEGUN = "po_api.begun"

_log = get_logger(__name__)
_names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_slow_seconds = 0.5


def configure(*, slow_query_ms: int) -> None:
    """Set the duration in milliseconds from which this process counts and logs statements as slow."""
    global _slow_seconds  # noqa: PLW0603
    _slow_seconds = slow_query_ms / 1000


async def timed(operation: str, statement: Awaitable[T]) -> T:
    """Await the result of the statement with that name, and measure it."""
    span = None if tracing.tracer is None else tracing.begin_statement(operation)
    started = perf_counter()
    try:
        result = await statement
    except BaseException as error:
        _finish(operation, started, span, error)
        raise
    _finish(operation, started, span, None)
    return result


async def count_errors(statement: Awaitable[T]) -> T:
    """Await a statement of which only errors are counted: a BEGIN, COMMIT or ROLLBACK."""
    try:
        return await statement
    except BaseException as error:
        count_error(error)
        raise


def count_error(error: BaseException) -> None:
    """Count an error of the database or of the connection to it, and log a shortage; other errors are ignored."""
    if (sqlstate_class := _class_of(error)) is not None:
        metrics.DB_ERRORS.labels(sqlstate_class).inc()
    if sqlstate_class == shortages.SQLSTATE_CLASS:
        shortages.report(sqlstate_of(error))


def _class_of(error: BaseException) -> str | None:
    if sqlstate := sqlstate_of(error):
        return sqlstate[:2]
    # The driver's errors about a statement's arguments are also ValueErrors.
    return metrics.NO_CONNECTION if isinstance(error, CONNECTION_LOST) and not isinstance(error, ValueError) else None


@cache
def _histogram(operation: str) -> Histogram:
    return metrics.DB_STATEMENTS.labels(operation)


def _finish(operation: str, started: float, span: Any, error: BaseException | None) -> None:
    seconds = perf_counter() - started
    _histogram(operation).observe(seconds)
    if seconds >= _slow_seconds:
        metrics.DB_SLOW.inc()
        _log.warning("slow_query", statement=operation, duration_ms=int(seconds * 1000))
    if error is not None:
        count_error(error)
    if span is not None:
        tracing.end(span, error)


def listen(engine: Engine) -> None:
    """Measure the statements that SQLAlchemy sends itself: those of sessions."""
    event.listen(engine, "before_cursor_execute", _before)
    event.listen(engine, "after_cursor_execute", _after)
    event.listen(engine, "handle_error", _failed)


def _before(connection: Any, _cursor: Any, sql: str, _parameters: Any, context: Any, _many: bool) -> None:
    operation = _operation(sql, context)
    span = None if tracing.tracer is None else tracing.begin_statement(operation)
    connection.info[_BEGUN] = (operation, perf_counter(), span)


def _after(connection: Any, *_: Any) -> None:
    operation, started, span = connection.info.pop(_BEGUN)
    _finish(operation, started, span, None)


def _failed(context: ExceptionContext) -> None:
    connection: Any = context.connection
    begun = None if connection is None or connection.invalidated else connection.info.pop(_BEGUN, None)
    if begun is not None:
        operation, started, span = begun
        _finish(operation, started, span, context.original_exception)
    elif connection is not None:
        count_error(context.original_exception)


def _operation(sql: str, context: Any) -> str:
    """The name of a statement: that of its query, else its table and kind."""
    query_name: str | None = context.execution_options.get("operation")
    if query_name is not None:
        return query_name
    compiled = context.compiled
    if compiled is None:
        return _kind_of(sql)
    name = _names.get(compiled)
    if name is None:
        name = _names[compiled] = _name_of(compiled.statement, _kind_of(sql))
    return name


def _kind_of(sql: str) -> str:
    kind = sql.lstrip().partition(" ")[0].lower()
    return kind if kind in _KINDS else "other"


def _name_of(statement: Any, kind: str) -> str:
    tables: Sequence[Any] = ()
    if isinstance(statement, Select):
        tables = statement.get_final_froms()
    elif isinstance(statement, UpdateBase):
        tables = [statement.table]
    # A join has no name.
    name = getattr(tables[0], "name", None) if len(tables) == 1 else None
    return kind if name is None else f"{name}.{kind}"
