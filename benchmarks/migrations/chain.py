"""Each revision under load, on all rows of the tables of that time.

A server that is loaded at head is downgraded revision by revision. A further revision fills and requires a column,
which none of the released ones does.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from benchmarks.database import Server, running_server
from benchmarks.migrations.command import migrate
from benchmarks.migrations.load import Measurement, load_alone, under_load, workers
from benchmarks.progress import say
from po_api.operations import migrations, revisions

# A later revision on a table in use.
_FURTHER = '''"""(not of the chain) A column that is filled in, required and indexed.

Revises: {below}
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "{name}"
down_revision = "{below}"
loses = "the column"


def upgrade():
    with ddl.steps():
        ddl.add_columns("porfs", sa.Column("region", sa.Text, server_default="-"))
        ddl.backfill("porfs", "region = 'region ' || id % 10", where="region = '-'")
        ddl.require("porfs", "region")
        ddl.create_index("ix_porfs_region", "porfs (organisation_id, region, id)")


def downgrade():
    op.drop_index("ix_porfs_region", "porfs")
    op.drop_column("porfs", "region")
'''
FURTHER_NAME = "further"


def measure_chain(requests: int) -> list[Measurement]:
    """Every revision but the first, which creates the first tables: there is no load yet."""
    with running_server(requests, None) as server, _with_further_revision() as project:
        return uvloop.run(_measure(server, project))


async def _measure(server: Server, project: Path) -> list[Measurement]:
    measurements = []
    for revision in reversed(revisions.chain()[1:]):
        assert revision.below is not None
        await migrations.upgrade(
            owner_url=server.urls.owner, app_url=server.urls.app, to=revision.below, may_lose_data=True
        )
        alone = await load_alone(workers(server))
        seconds, load = await under_load(workers(server), lambda to=revision.name: migrate(server, project, to))  # type: ignore[misc]
        measurement = Measurement.of(revision.name, revision.title, seconds[revision.name], alone, load)
        say(f"{revision.name}: {measurement.seconds:.1f} s, p99 of writes {measurement.writes.p99:.0f} ms")
        measurements.append(measurement)
    return measurements[::-1]


@contextmanager
def _with_further_revision() -> Iterator[Path]:
    """The files of this version with the further revision, which belongs to the chain meanwhile."""
    released = revisions.PROJECT
    with tempfile.TemporaryDirectory(prefix="po-bench-") as place:
        project = Path(place)
        shutil.copytree(released / "alembic", project / "alembic")
        shutil.copy(released / "alembic.ini", project)
        text = _FURTHER.format(name=FURTHER_NAME, below=revisions.head_revision())
        (project / "alembic" / "versions" / f"{FURTHER_NAME}.py").write_text(text)
        revisions.PROJECT = project
        try:
            yield project
        finally:
            revisions.PROJECT = released
