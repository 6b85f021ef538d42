"""${message}

Revises: ${down_revision | comma,n}
"""

# Remove this comment when the rules are met. The steps are in po_api.operations.ddl, which also gives the reasons.
#
# - The docstring's first line is what `po-api migrate` prints: a sentence that says what the revision adds or
#   changes.
# - Existing tables are changed in `with ddl.steps():`, first in `upgrade`, by steps that can be repeated. What cannot
#   be repeated comes after it, in the transaction that stamps the revision: new tables with their indexes, and what
#   ends something that is in use (drop, rename). A revision that is killed anywhere can be run again.
# - An index on an existing table: `ddl.create_index` (CONCURRENTLY; never IF NOT EXISTS, which keeps an invalid one).
#   Unique: `ddl.add_unique`. CHECK and foreign key: `ddl.add_checks`, `ddl.add_tenant_reference` (NOT VALID, then
#   VALIDATE in a later transaction). Tables that are created in the same revision need none of this.
# - A new column is nullable or has a constant default. To require an existing one: `ddl.require` (SET NOT NULL after
#   a validated check).
# - Expand first: the running version continues while this runs. Add, let both versions write it, backfill with
#   `ddl.backfill_by_key` (batches that commit and report progress), require; remove what is unused a release later.
# - The connection has a lock_timeout of 2 s, after which the upgrade is retried: lock one existing table per
#   transaction. It has a statement_timeout of 30 s, so that no lock is held for longer; steps that read or write
#   whole tables without blocking others lift it themselves.
# - `downgrade` is one transaction (no steps) that copies no rows. `loses` says what it may lose, for the operator,
#   and is None if nothing; `lost_rows` says where to look whether there is any, each as the text after FROM ("porfs
#   WHERE region IS NOT NULL"): a downgrade is refused where there is something to lose.
# - `expands` says whether the application before this revision works with the schema after it, reading and writing:
#   True if the revision only adds what that version does not use, False if it removes, renames or requires anything.
#   Processes of earlier versions stay ready on a schema that expands theirs. A revision that removes only what
#   versions before 012 used also says so by `compatible_since = "012"`.
# - A landed revision is never edited, and neither is the meaning of what it uses.

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl
${imports if imports else ""}
revision = "${up_revision}"
down_revision = ${repr(down_revision).replace("'", '"')}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

expands = None  # True or False
loses = "what the revision adds"
lost_rows = ("table WHERE column IS NOT NULL",)


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
