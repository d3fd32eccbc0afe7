"""How every service says that a setting cannot be used."""

from pydantic import ValidationError


def describe_invalid_settings(error: ValidationError) -> str:
    """Return one line a fault: the setting and what is wrong with it."""
    return "\n".join(
        f"setting {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    )
