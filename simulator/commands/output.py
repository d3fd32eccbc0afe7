"""What a run leaves behind: a saved run, a table of its playbacks, a picture of its rewards."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from simulator.adapters.pictures import check_picture
from simulator.adapters.playback_table import PlaybackTable
from simulator.adapters.saved_runs import RunFolder, RunManifest
from simulator.adapters.world_files import load_manifest
from simulator.commands.report import FORMATS
from simulator.saved_session import SavedSession
from simulator.settings import Settings


class _Writer(Protocol):
    def write(self, session: SavedSession) -> None: ...


class Recording:
    """Gets each session as it ends."""

    def __init__(self, writers: list[_Writer], folder: RunFolder | None = None) -> None:
        """Take what to write to; the folder is among it."""
        self._writers = writers
        self._folder = folder

    @property
    def is_on(self) -> bool:
        """Whether anything is written at all."""
        return bool(self._writers)

    def write(self, session: SavedSession) -> None:
        """Write a session everywhere."""
        for writer in self._writers:
            writer.write(session)

    def finish(self) -> None:
        """Note that the run came to its end."""
        if self._folder is not None:
            self._folder.finish(datetime.now(UTC))


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is shown and what is kept."""
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=FORMATS, default="text", help="of the summary (text)")
    group.add_argument(
        "--json", dest="format", action="store_const", const="json", help="--format json"
    )
    group.add_argument("--save", type=Path, metavar="FOLDER", help="keep the run, for `replay`")
    group.add_argument("--parquet", type=Path, metavar="FILE", help="a table of all playbacks")
    group.add_argument(
        "--picture", type=Path, metavar="FILE", help="reward curves: PNG, SVG or PDF"
    )


@contextmanager
def open_recording(
    arguments: argparse.Namespace, settings: Settings, *, recommender: str
) -> Iterator[Recording]:
    """Open what the arguments ask for; what was written stays, however the run ends.

    Args:
        arguments: Of the command.
        settings: Of the run.
        recommender: The policy, or the URL of the service.

    Raises:
        SavedRunError, TableFileError, PictureError: If something cannot be written.
        MissingExtraError: If a package for it is not installed.
    """
    if arguments.picture is not None:
        check_picture(arguments.picture)
    with ExitStack() as stack:
        writers: list[_Writer] = []
        folder: RunFolder | None = None
        if arguments.save is not None:
            manifest = _describe(arguments, settings, recommender)
            folder = stack.enter_context(RunFolder(arguments.save, manifest))
            writers.append(folder)
        if arguments.parquet is not None:
            writers.append(stack.enter_context(PlaybackTable(arguments.parquet)))
        yield Recording(writers, folder)


def _describe(arguments: argparse.Namespace, settings: Settings, recommender: str) -> RunManifest:
    words = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(arguments).items()
        if isinstance(value, str | int | float | bool | Path)
    }
    return RunManifest(
        recommender=recommender,
        seed=arguments.seed,
        world=str(settings.world),
        checksums=load_manifest(settings.world).checksums,
        listener=settings.listener.to_defaults(),
        started_at=datetime.now(UTC),
        arguments=msgspec.to_builtins(words),
    )
