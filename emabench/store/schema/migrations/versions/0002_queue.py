"""The queue: order, retries, heartbeats and progress."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index("ix_jobs_state_queued_at")
        jobs.add_column(sa.Column("failures", sa.Integer, nullable=False, server_default="0"))
        jobs.add_column(sa.Column("max_attempts", sa.Integer, nullable=False, server_default="3"))
        jobs.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
        jobs.add_column(sa.Column("device_kind", sa.Text))
        jobs.add_column(sa.Column("spec_version", sa.Integer, nullable=False, server_default="1"))
    with op.batch_alter_table("attempts") as attempts:
        attempts.alter_column("environment_id", existing_type=sa.Integer, nullable=True)
        attempts.add_column(sa.Column("heartbeat", sa.Integer, nullable=False, server_default="0"))
        attempts.add_column(sa.Column("device", sa.Text))
        attempts.add_column(sa.Column("step", sa.Integer))
        attempts.add_column(sa.Column("total_steps", sa.Integer))
        attempts.add_column(sa.Column("loss", sa.Float))
        attempts.add_column(sa.Column("images_per_second", sa.Float))
    _fill_device_kind()
    # It was Unix time, which moves with the clock of the host.
    op.execute("UPDATE attempts SET process_started = NULL")
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        ["state", "device_kind", sa.text("priority DESC"), "experiment_id", "position"],
    )


def _fill_device_kind() -> None:
    """Take the device kind of each job from the identity of its run."""
    experiments = sa.table("experiments", sa.column("id"), sa.column("identity", sa.JSON))
    jobs = sa.table("jobs", sa.column("experiment_id"), sa.column("device_kind"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(experiments.c.id, experiments.c.identity)).all():
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.experiment_id == row.id)
            .values(device_kind=row.identity.get("device_kind"))
        )


def downgrade() -> None:
    op.drop_index("ix_jobs_queue", "jobs")
    with op.batch_alter_table("attempts") as attempts:
        for name in ("heartbeat", "device", "step", "total_steps", "loss", "images_per_second"):
            attempts.drop_column(name)
    with op.batch_alter_table("jobs") as jobs:
        for name in ("failures", "max_attempts", "priority", "device_kind", "spec_version"):
            jobs.drop_column(name)
        jobs.create_index("ix_jobs_state_queued_at", ["state", "queued_at"])
