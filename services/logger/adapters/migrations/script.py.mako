"""${message}.

Revision ID: ${up_revision}
"""

from services.logger.adapters.migrate import execute_script

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

UPGRADE = """
${upgrades if upgrades else "SELECT 1;"}
"""

DOWNGRADE = """
${downgrades if downgrades else "SELECT 1;"}
"""


def upgrade() -> None:
    """Apply."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Undo."""
    execute_script(DOWNGRADE)
