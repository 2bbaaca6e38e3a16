"""What was sent stays: `app` deletes nothing by which the log of attempts would go.

A cascade runs as the owner, so whoever may delete a webhook or a delivery deletes its attempts, too, which are
append-only. The code only ever marks both as deleted.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the right; a lock of the catalogue only."""
    op.execute("REVOKE DELETE ON plugin_webhooks, webhook_deliveries FROM app")


def downgrade() -> None:
    """Give it back."""
    op.execute("GRANT DELETE ON plugin_webhooks, webhook_deliveries TO app")
