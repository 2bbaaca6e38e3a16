"""${message}."""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What changes, in SQL."""
    op.execute("")


def downgrade() -> None:
    """The way back."""
    op.execute("")
