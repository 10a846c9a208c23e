"""Compact metrics: the job and the name of a metric are written once, not with each value."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "series",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.String(12), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_series_job_id_jobs"),
        sa.UniqueConstraint("job_id", "name", name="uq_series_job_id_name"),
    )
    op.execute(
        "INSERT INTO series (job_id, name)"
        " SELECT DISTINCT job_id, name FROM metrics ORDER BY job_id, name"
    )
    _set_aside()
    op.create_table(
        "metrics",
        sa.Column("series_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("step", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("value", sa.Float),
        sa.PrimaryKeyConstraint("series_id", "step", name="pk_metrics"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_metrics_series_id_series"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO metrics (series_id, step, epoch, value)"
        " SELECT series.id, old.step, old.epoch, old.value FROM old_metrics AS old"
        " JOIN series ON series.job_id = old.job_id AND series.name = old.name"
        " ORDER BY series.id, old.step"
    )
    op.drop_table("old_metrics")


def downgrade() -> None:
    _set_aside()
    op.create_table(
        "metrics",
        sa.Column("job_id", sa.String(12), nullable=False),
        sa.Column("step", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("value", sa.Float),
        sa.PrimaryKeyConstraint("job_id", "step", "name", name="pk_metrics"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_metrics_job_id_jobs"),
    )
    op.execute(
        "INSERT INTO metrics (job_id, step, name, epoch, value)"
        " SELECT series.job_id, old.step, series.name, old.epoch, old.value"
        " FROM old_metrics AS old JOIN series ON series.id = old.series_id"
    )
    op.drop_table("old_metrics")
    op.drop_table("series")


def _set_aside() -> None:
    """Free the name of the table, and on a server also that of the index of its key."""
    op.rename_table("metrics", "old_metrics")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("pk_metrics", "old_metrics", type_="primary")
