"""Labels: tags of runs, any number to each, and a note."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiments", sa.Column("note", sa.Text))
    op.create_table(
        "run_tags",
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("experiment_id", sa.Integer, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("tag", "experiment_id", name="pk_run_tags"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_run_tags_experiment_id_experiments",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_run_tags_experiment_id", "run_tags", ["experiment_id"])


def downgrade() -> None:
    op.drop_table("run_tags")
    op.drop_column("experiments", "note")
