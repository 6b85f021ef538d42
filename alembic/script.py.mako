"""${message}

Revises: ${down_revision | comma,n}
"""

# Remove this comment when the rules are met. The steps are in po_api.operations.ddl, which also gives the reasons.
#
# - The docstring's first line is what `po-api migrate` prints: a sentence that says what the revision adds or
#   changes.
# - Existing tables are changed in `with ddl.steps():`, first in `upgrade`, by steps that can be repeated. Other
#   statements come after it, in the transaction that stamps the revision: new tables with their indexes, drops and
#   renames. A revision that was interrupted anywhere can be run again.
# - An index on an existing table: `ddl.create_index` (CONCURRENTLY; never IF NOT EXISTS, which keeps an invalid one).
#   Unique: `ddl.add_unique`. CHECK and foreign key: `ddl.add_check`, `ddl.add_reference` (NOT VALID, then
#   VALIDATE in a later transaction). Tables created in the same revision need none of this.
# - A new column is nullable or has a constant default. To require an existing one: `ddl.require_column` (SET NOT NULL
#   with a validated check).
# - Expand first: the previous version keeps running while this runs. Add, let both versions write it,
#   `ddl.backfill_by_key` (batches that commit and report progress), require; drop what no version uses one release
#   later.
# - The connection has a lock_timeout of 2 s, after which the upgrade is retried: lock one existing table per
#   transaction. It has a statement_timeout of 30 s, so that no lock is held for longer; steps that read or write whole
#   tables without blocking others lift it themselves.
# - `downgrade` is one transaction (no steps) that copies no rows. `loses` describes what it may lose, or is None;
#   `lost_rows` are FROM items that select such rows ("porfs WHERE region IS NOT NULL"): if there are any, the downgrade
#   is refused.
# - `expands`: whether the application before this revision can read and write the schema after it. True if the revision
#   only adds, False if it drops, renames or requires anything. Processes of earlier versions stay ready on a schema
#   that expands theirs. A revision that only drops what versions before 012 used also declares
#   `compatible_since = "012"`.
# - A released revision is never edited, nor is the effect of the functions that it uses.

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl
${imports if imports else ""}
revision = "${up_revision}"
down_revision = ${repr(down_revision).replace("'", '"')}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

expands = None  # required: True or False
loses = "what the revision adds"
lost_rows = ("table WHERE column IS NOT NULL",)


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
