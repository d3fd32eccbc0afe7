"""Packages that only some users of the simulator need, imported when they do."""

import importlib
from typing import Any


class MissingExtraError(ImportError):
    """A package that is not installed; the message names the extra that brings it."""


def import_extra(module: str, *, extra: str) -> Any:
    """Import a module of an optional extra.

    Args:
        module: Its full name.
        extra: Of `pyproject.toml`.

    Raises:
        MissingExtraError: If its package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs {module.partition('.')[0]}: pip install 'segue[{extra}]' ({error})"
        ) from error
