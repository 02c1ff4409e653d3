"""Images, runs, subscriptions and deliveries"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables; times are microseconds since 1970."""
    changes = op.create_table(
        "changes",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("database", sa.String(8), nullable=False),
    )
    op.bulk_insert(changes, [{"id": 1, "number": 0, "database": secrets.token_hex(4)}])
    op.create_table(
        "images",
        sa.Column("image_id", sa.String(32), primary_key=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("psnr", sa.Float()),
        sa.Column("ssim", sa.Float()),
        sa.Column("bicubic_psnr", sa.Float()),
        sa.Column("bicubic_ssim", sa.Float()),
        sa.Column("gain", sa.Float()),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
    )
    op.create_index("images_by_time", "images", ["finished_at", "image_id"])
    op.create_index("images_by_gain", "images", ["gain", "image_id"])
    op.create_table(
        "runs",
        sa.Column("kind", sa.String(9), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("scale", sa.Integer()),
        sa.Column("ingest_date", sa.Date()),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
    )
    op.create_index("runs_by_time", "runs", ["changed_at", "name"])
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("disabled_at", sa.BigInteger()),
        sa.Column("disabled_reason", sa.Text()),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column(
            "subscription_id",
            sa.String(36),
            sa.ForeignKey("subscriptions.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("give_up_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("leased_until", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.UniqueConstraint("subscription_id", "message_id", name="one_delivery_per_message"),
    )
    op.create_index("deliveries_due", "deliveries", ["subscription_id", "state", "due_at"])


def downgrade() -> None:
    """Drops the tables."""
    for table in ("deliveries", "subscriptions", "runs", "images", "changes"):
        op.drop_table(table)
