"""${message}

Revises: ${down_revision | comma,n}
"""

# Rules (po_api.operations.ddl says why, and has the steps):
#
# - What exists already is changed in `with ddl.steps():`, first in `upgrade`, by steps that can be repeated. What
#   cannot be repeated comes after it, in the transaction that stamps the revision: new tables with their indexes, and
#   what ends something that is in use (drop, rename). A revision killed anywhere can be run again.
# - An index on an existing table: `ddl.create_index` (CONCURRENTLY; never IF NOT EXISTS, which keeps an invalid one).
#   Unique: `ddl.add_unique`. CHECK and foreign key: `ddl.add_checks`, `ddl.add_tenant_reference` (NOT VALID, then
#   VALIDATE in a later transaction). Tables created in the same revision need none of this.
# - A new column is nullable or has a constant default. To require an existing one: `ddl.require` (SET NOT NULL by way of
#   a validated check).
# - Expand first: the running version goes on while this runs. Add, have both versions write it, `ddl.backfill` (batches
#   that commit and say how far they are), require; take away what nobody reads a release later.
# - The connection has a lock_timeout of 2 s, after which the upgrade is tried again: lock one existing table per
#   transaction. It has a statement_timeout of 30 s, so that no lock is held for longer; the steps that read or write
#   whole tables without locking others out lift it themselves.
# - `downgrade` is one transaction (no steps) that copies no rows. `loses` says what it may lose, for whoever is about to do
#   it, and is None if nothing; `lost_rows` says where the database is asked whether that is there, each what FROM has
#   after it ("porfs WHERE region IS NOT NULL"): going back is refused where there is something to lose.
# - `expands` says whether the application before this revision works with the schema after it, reading and writing: True
#   if the revision only adds what that has no use for, False if it takes away, renames or requires anything. Processes of
#   earlier versions stay ready on a schema that expands theirs. What takes away only what versions before 012 used says
#   so by `compatible_since = "012"` besides.
# - A landed revision is never edited, and neither is the meaning of what it uses.

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

expands = None  # say so: True or False
loses = "what came with it"
lost_rows = ("table WHERE column IS NOT NULL",)


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
