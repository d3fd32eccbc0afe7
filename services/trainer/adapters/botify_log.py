"""Playbacks from botify's log: a JSON object per line, a session ends with `last`."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import PLAYBACK
from shared.events import Fraction, Id

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799_000)]  # to the year 9999


class Line(msgspec.Struct, gc=False):
    """What a playback needs of a line; `timestamp` is in milliseconds."""

    message: Literal["next", "last"]
    timestamp: Milliseconds
    user: Id
    track: Id
    time: Fraction


def load_botify_log(path: Path) -> npt.NDArray[Any]:
    """Read a log from disk, `.gz` decompressed.

    Raises:
        TrainingError: If the file is absent or a line is bad.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            return parse_botify_log(lines)
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise TrainingError(f"{path}: the gzip file is damaged: {error}") from error
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def parse_botify_log(lines: Iterable[bytes]) -> npt.NDArray[Any]:
    """Read a log; lines of one user are in the order of their timestamps.

    Returns:
        Of dtype `PLAYBACK`.

    Raises:
        TrainingError: Naming the first bad line.
    """
    columns = [("at", "i8"), ("user", "i4"), ("track", "i4"), ("time", "f4"), ("ends", "?")]
    read = np.fromiter(_decode(lines), dtype=np.dtype(columns))
    read = read[np.lexsort((read["at"], read["user"]))]  # stable: equal times keep the file's order
    starts = np.append(True, read["ends"][:-1] | (read["user"][1:] != read["user"][:-1]))
    starts = starts[: len(read)]
    first = np.flatnonzero(starts)
    session = np.cumsum(starts) - 1
    playbacks = np.zeros(len(read), PLAYBACK)
    for name in ("at", "user", "track", "time"):
        playbacks[name] = read[name]
    playbacks["session_low"] = session
    playbacks["position"] = np.arange(len(read)) - first[session] if len(read) else 0
    return playbacks


def _decode(lines: Iterable[bytes]) -> Iterator[tuple[int, int, int, float, bool]]:
    decoder = msgspec.json.Decoder(Line)
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TrainingError(f"line {number}: {error}") from error
        at = int(line.timestamp * 1000)
        yield at, line.user, line.track, line.time, line.message == "last"
