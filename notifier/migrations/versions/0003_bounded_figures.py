"""Figures that no image has are not kept: pages could not show them"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_GREATEST = {
    "psnr": 1000,
    "bicubic_psnr": 1000,
    "gain": 2000,
    "ssim": 1.001,
    "bicubic_ssim": 1.001,
}


def upgrade() -> None:
    """Deletes images with such figures; their records are refused when they are read again."""
    wrong = " OR ".join(
        f"{name} NOT BETWEEN -{most} AND {most}" for name, most in _GREATEST.items()
    )
    op.execute(f"DELETE FROM images WHERE {wrong}")


def downgrade() -> None:
    """Changes nothing: an earlier version shows what is left."""
