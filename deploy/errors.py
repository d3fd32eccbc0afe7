"""What every error of running Segue has in common."""


class DeployError(RuntimeError):
    """Something that a user can act on; the message says what went wrong and where to look."""
