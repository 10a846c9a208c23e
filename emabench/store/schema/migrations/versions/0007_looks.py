"""Looks: what a study fixed before its first run, and every look at it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "study_plans",
        sa.Column("study", sa.Text, nullable=False),
        sa.Column("smoke", sa.Boolean, nullable=False),
        sa.Column("pairs", sa.JSON, nullable=False),
        sa.Column("levels", sa.JSON, nullable=False),
        sa.Column("terms", sa.JSON, nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_before", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("study", "smoke", name="pk_study_plans"),
    )
    op.create_table(
        "study_looks",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study", sa.Text, nullable=False),
        sa.Column("smoke", sa.Boolean, nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_by", sa.Text, nullable=False),
        sa.Column("pairs", sa.Integer, nullable=False),
        sa.Column("verdicts", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_study_looks"),
    )
    op.create_index("ix_study_looks_study", "study_looks", ["study"])


def downgrade() -> None:
    op.drop_table("study_looks")
    op.drop_table("study_plans")
