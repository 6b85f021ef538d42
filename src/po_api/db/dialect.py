"""The dialect of the statements of queries, which the driver executes."""

from typing import Any

from sqlalchemy import BindParameter
from sqlalchemy.dialects.postgresql.asyncpg import PGCompiler_asyncpg, PGDialect_asyncpg


class _Compiler(PGCompiler_asyncpg):
    """Renders values that never differ into the text: they need not be sent, and PostgreSQL plans with them."""

    def visit_bindparam(self, bindparam: BindParameter[Any], *arguments: Any, **options: Any) -> Any:
        # A value in the statement is a parameter without a name of its own.
        if bindparam.unique:
            options["literal_execute"] = True
        return super().visit_bindparam(bindparam, *arguments, **options)  # type: ignore[no-untyped-call]

    def construct_params(self, *args: Any, **options: Any) -> Any:
        # There are no values at compilation to compare with; `arguments` raises for a missing one.
        return super().construct_params(*args, **{**options, "_check": False})


class _Dialect(PGDialect_asyncpg):
    statement_compiler = _Compiler


DIALECT = _Dialect()  # type: ignore[no-untyped-call]
