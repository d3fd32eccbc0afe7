"""Training jobs that were cancelled, and what started a job.

Revision ID: 0003
"""

from services.logger.adapters.migrate import execute_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE training_jobs
    DROP CONSTRAINT training_jobs_status_check,
    ADD CONSTRAINT training_jobs_status_check
        CHECK (status IN ('running', 'succeeded', 'failed', 'interrupted', 'cancelled')),
    ADD COLUMN started_by text NOT NULL DEFAULT 'request'
        CHECK (started_by IN ('request', 'schedule')),
    ADD COLUMN attempts integer NOT NULL DEFAULT 1;
COMMENT ON COLUMN training_jobs.model_version IS
    'Set in the transaction that publishes it: from then on the job cannot be cancelled.';
COMMENT ON COLUMN training_jobs.attempts IS 'Times that it was started or resumed.';
"""

DOWNGRADE = """
UPDATE training_jobs SET status = 'interrupted' WHERE status = 'cancelled';
ALTER TABLE training_jobs
    DROP CONSTRAINT training_jobs_status_check,
    ADD CONSTRAINT training_jobs_status_check
        CHECK (status IN ('running', 'succeeded', 'failed', 'interrupted')),
    DROP COLUMN started_by,
    DROP COLUMN attempts;
"""


def upgrade() -> None:
    """Allow what is new."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Forget it; a cancelled job becomes an interrupted one."""
    execute_script(DOWNGRADE)
