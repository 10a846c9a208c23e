"""The whole cost record: the phases of a step, and the bytes that the EMA update moves."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = {
    "augment_ms": sa.Float,
    "online_forward_ms": sa.Float,
    "target_forward_ms": sa.Float,
    "loss_ms": sa.Float,
    "backward_ms": sa.Float,
    "optimizer_ms": sa.Float,
    "ema_update_ms": sa.Float,
    "sampled_steps": sa.Integer,
    "ema_bytes_moved": sa.BigInteger,
}


def upgrade() -> None:
    for name, kind in _COLUMNS.items():
        op.add_column("costs", sa.Column(name, kind))


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("costs", name)
