"""An image has a result for each recipe"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDICES = {
    "images_by_time": ("finished_at", "result_id"),
    "images_by_gain": ("gain", "result_id"),
    "images_by_image": ("image_id",),
}


def upgrade() -> None:
    """Names results by image and recipe; those there are have the default recipe."""
    for name in ("images_by_time", "images_by_gain"):
        op.drop_index(name, "images")
    with op.batch_alter_table("images") as table:
        table.alter_column(
            "image_id",
            new_column_name="result_id",
            existing_type=sa.String(32),
            existing_nullable=False,
            type_=sa.String(41),
        )
    op.add_column("images", sa.Column("image_id", sa.String(32)))
    op.execute("UPDATE images SET image_id = result_id")
    with op.batch_alter_table("images") as table:
        table.alter_column("image_id", existing_type=sa.String(32), nullable=False)
    for name, columns in _INDICES.items():
        op.create_index(name, "images", columns)


def downgrade() -> None:
    """Forgets the results of other recipes than the default."""
    for name in _INDICES:
        op.drop_index(name, "images")
    op.execute("DELETE FROM images WHERE result_id <> image_id")
    with op.batch_alter_table("images") as table:
        table.drop_column("image_id")
    with op.batch_alter_table("images") as table:
        table.alter_column(
            "result_id",
            new_column_name="image_id",
            existing_type=sa.String(41),
            existing_nullable=False,
            type_=sa.String(32),
        )
    for name, column in (("images_by_time", "finished_at"), ("images_by_gain", "gain")):
        op.create_index(name, "images", [column, "image_id"])
