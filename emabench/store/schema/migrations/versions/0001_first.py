"""The first schema: experiments, jobs, attempts, metrics, results, costs, environments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("repeat", sa.Integer, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("smoke", sa.Boolean, nullable=False),
        sa.Column("command", sa.Text),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("identity", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("fingerprint", "repeat", name="uq_experiments_fingerprint_repeat"),
    )
    op.create_index("ix_experiments_created_at", "experiments", ["created_at"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("depends_on", sa.String(12)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("queued_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name="fk_jobs_experiment_id_experiments"
        ),
        sa.ForeignKeyConstraint(["depends_on"], ["jobs.id"], name="fk_jobs_depends_on_jobs"),
    )
    op.create_index("ix_jobs_experiment_id", "jobs", ["experiment_id"])
    op.create_index("ix_jobs_fingerprint", "jobs", ["fingerprint"])
    op.create_index("ix_jobs_depends_on", "jobs", ["depends_on"])
    op.create_index("ix_jobs_state_queued_at", "jobs", ["state", "queued_at"])
    op.create_table(
        "environments",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("device_kind", sa.Text, nullable=False),
        sa.Column("device_count", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("precision", sa.Text, nullable=False),
        sa.Column("compiled", sa.Boolean, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("dirty", sa.Boolean),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("hash", name="uq_environments_hash"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("job_id", sa.String(12), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.Column("reason", sa.Text),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_started", sa.Float),
        sa.Column("environment_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_attempts_job_id_jobs"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_attempts_environment_id_environments"
        ),
        sa.UniqueConstraint("job_id", "number", name="uq_attempts_job_id_number"),
    )
    op.create_index("ix_attempts_environment_id", "attempts", ["environment_id"])
    op.create_index("ix_attempts_state_host", "attempts", ["state", "host"])
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
    op.create_table(
        "results",
        sa.Column("job_id", sa.String(12), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("correct", sa.LargeBinary),
        sa.Column("correct_count", sa.Integer),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_results"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_results_job_id_jobs"),
    )
    op.create_table(
        "costs",
        sa.Column("attempt_id", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Float) for name in _TIMES),
        sa.Column("throughput", sa.Float),
        sa.Column("throughput_p10", sa.Float),
        sa.Column("throughput_p90", sa.Float),
        sa.Column("throughput_windows", sa.Integer),
        sa.Column("step_ms", sa.Float),
        sa.Column("steps", sa.Integer),
        sa.Column("flops_per_step", sa.Float),
        sa.Column("ema_bytes", sa.BigInteger),
        sa.Column("device_peak_allocated", sa.BigInteger),
        sa.Column("device_peak_reserved", sa.BigInteger),
        sa.Column("host_peak_rss", sa.BigInteger),
        sa.Column("energy_j", sa.Float),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_costs"),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name="fk_costs_attempt_id_attempts"
        ),
    )


def downgrade() -> None:
    for table in ("costs", "results", "metrics", "attempts", "environments", "jobs", "experiments"):
        op.drop_table(table)


_TIMES = (
    "queue_s",
    "init_s",
    "data_prep_s",
    "warmup_s",
    "train_s",
    "data_wait_s",
    "probe_s",
    "monitor_s",
    "eval_s",
    "checkpoint_s",
    "total_s",
)
