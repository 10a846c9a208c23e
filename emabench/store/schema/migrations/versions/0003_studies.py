"""Studies: which runs belong to which, a run to any number of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "study_runs",
        sa.Column("study", sa.Text, nullable=False),
        sa.Column("experiment_id", sa.Integer, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("study", "experiment_id", name="pk_study_runs"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_study_runs_experiment_id_experiments",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_study_runs_experiment_id", "study_runs", ["experiment_id"])


def downgrade() -> None:
    op.drop_table("study_runs")
