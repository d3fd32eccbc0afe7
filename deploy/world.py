"""`python -m deploy.world FOLDER`: make the standard world there, if there is none."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from deploy.commands import CommandError, run_module
from deploy.settings import DemoSettings
from shared.settings import describe_invalid_settings


def ensure_world(folder: Path, *, n_tracks: int, log: Path, environment: Mapping[str, str]) -> bool:
    """Generate a world; return whether it was absent.

    A world that was cut short is never found under its name.

    Raises:
        CommandError: If the generator fails.
    """
    if folder.exists():
        return False
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by one that was cut short
    run_module(
        ["simulator", "world", "make", str(unfinished), "--tracks", str(n_tracks)],
        log=log,
        environment=environment,
    )
    unfinished.rename(folder)
    return True


def main(arguments: list[str]) -> int:
    """Make one world; containers run this before the recommender."""
    if len(arguments) != 1:
        print("usage: python -m deploy.world FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    try:
        is_new = ensure_world(
            folder,
            n_tracks=DemoSettings().tracks,
            log=folder.with_suffix(".log"),
            environment=os.environ,
        )
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    except (CommandError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: {'made' if is_new else 'is there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
