"""Packages that only some users need, imported when one does."""

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package that is not installed; the message says how to get it."""


def import_extra(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: Its name.
        extra: What installs it.
        purpose: What it is needed for, for the message.

    Raises:
        MissingExtraError: If it is absent.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed: pip install 'segue[{extra}]'"
        ) from error
