"""PORF status fields; links to requester, supplier and organisation.

The author (`user_id`) becomes the requester: the column is added, filled in batches and only then required, so that the
table is never locked for long. Indexes are built CONCURRENTLY, which has to happen outside a transaction.

Revises: 003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "004"
down_revision = "003"
branch_labels = None
depends_on = None

BATCH = 10_000

CHECKS = {
    "ck_porfs_status": (
        "status IN ('draft', 'pending', 'approved', 'partially_ordered', 'ordered', 'closed', 'rejected', 'cancelled')"
    ),
    "ck_porfs_submitted_at": "status IN ('draft', 'cancelled') OR submitted_at IS NOT NULL",
    "ck_porfs_decided_at": "status IN ('draft', 'pending', 'cancelled') OR decided_at IS NOT NULL",
    "ck_porfs_approval_round": "approval_round >= 1",
}
FOREIGN_KEYS = {
    "fk_porfs_organisation_id_requester_id": ("requester_id", "users"),
    "fk_porfs_organisation_id_supplier_id": ("supplier_id", "suppliers"),
}
INDEXES = {
    "ix_porfs_organisation_id_total": ["organisation_id", "total", "id"],
    "ix_porfs_organisation_id_status": ["organisation_id", "status", "created_at", "id"],
    "ix_porfs_organisation_id_requester_id": ["organisation_id", "requester_id", "created_at", "id"],
    "ix_porfs_organisation_id_supplier_id": ["organisation_id", "supplier_id", "created_at", "id"],
}


def fill(target: str, source: str) -> None:
    """Copy one column of `porfs` to another in batches by id; one statement, so that `--sql` can print it too."""
    op.execute(
        f"""
        DO $$
        DECLARE first bigint := (SELECT min(id) FROM porfs); last bigint := (SELECT max(id) FROM porfs);
        BEGIN
            WHILE first <= last LOOP
                UPDATE porfs SET {target} = {source}
                WHERE id >= first AND id < first + {BATCH} AND {target} IS DISTINCT FROM {source};
                first := first + {BATCH};
            END LOOP;
        END $$
        """
    )


def require(column: str) -> None:
    """NOT NULL by way of a validated check: the scan then needs no exclusive lock."""
    name = f"ck_porfs_{column}_required"
    op.execute(f"ALTER TABLE porfs ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID")
    op.execute(f"ALTER TABLE porfs VALIDATE CONSTRAINT {name}")
    op.execute(f"ALTER TABLE porfs ALTER COLUMN {column} SET NOT NULL")
    op.execute(f"ALTER TABLE porfs DROP CONSTRAINT {name}")


def add_foreign_key(name: str, column: str, referred: str) -> None:
    op.execute(
        f"ALTER TABLE porfs ADD CONSTRAINT {name} FOREIGN KEY (organisation_id, {column})"
        f" REFERENCES {referred} (organisation_id, id) NOT VALID"
    )
    op.execute(f"ALTER TABLE porfs VALIDATE CONSTRAINT {name}")


def upgrade() -> None:
    op.add_column(
        "organisations", sa.Column("allow_self_approval", sa.Boolean, server_default=sa.false(), nullable=False)
    )
    op.add_column("porfs", sa.Column("status", sa.Text, server_default="draft", nullable=False))
    op.add_column("porfs", sa.Column("requester_id", sa.BigInteger))
    op.add_column("porfs", sa.Column("supplier_id", sa.BigInteger))
    op.add_column("porfs", sa.Column("approval_round", sa.Integer, server_default="1", nullable=False))
    op.add_column("porfs", sa.Column("submitted_at", TIMESTAMP(timezone=True)))
    op.add_column("porfs", sa.Column("decided_at", TIMESTAMP(timezone=True)))
    fill("requester_id", "user_id")
    require("requester_id")
    for name, (column, referred) in FOREIGN_KEYS.items():
        add_foreign_key(name, column, referred)
    for name, condition in CHECKS.items():
        op.execute(f"ALTER TABLE porfs ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
        op.execute(f"ALTER TABLE porfs VALIDATE CONSTRAINT {name}")
    op.drop_constraint(op.f("fk_porfs_organisation_id_user_id"), "porfs")
    op.drop_column("porfs", "user_id")
    for name, columns in INDEXES.items():
        op.create_index(name, "porfs", columns)


def downgrade() -> None:
    op.add_column("porfs", sa.Column("user_id", sa.BigInteger))
    fill("user_id", "requester_id")
    require("user_id")
    add_foreign_key("fk_porfs_organisation_id_user_id", "user_id", "users")
    for name in INDEXES:
        op.drop_index(name, "porfs")
    for name in (*CHECKS, *FOREIGN_KEYS):
        op.drop_constraint(op.f(name), "porfs")
    for column in ("decided_at", "submitted_at", "approval_round", "supplier_id", "requester_id", "status"):
        op.drop_column("porfs", column)
    op.drop_column("organisations", "allow_self_approval")
