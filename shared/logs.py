"""How every service logs: one line an entry, to standard error."""

import logging


def configure_logging(level: str) -> None:
    """Log the service's own entries and the server's in one form.

    Args:
        level: Name of the least level that is logged.
    """
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
