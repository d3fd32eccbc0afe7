"""Read the programs' log files: their ends, and what is added."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

POLL_S = 0.3
BLOCK = 65_536


def last_lines(path: Path, n_lines: int) -> list[str]:
    """Return the last lines of a file; none if it is absent."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            length = 0
            text = b""
            while length < size and text.count(b"\n") <= n_lines:
                length = min(size, length + BLOCK)
                file.seek(size - length)
                text = file.read(length)
    except FileNotFoundError:
        return []
    return text.decode(errors="replace").splitlines()[-n_lines:]


class Follower:
    """Reads what is appended to files, which may be rotated or absent."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        """Start at the present end of each file."""
        self._paths = paths
        self._read = {name: _size(path) for name, path in paths.items()}

    def poll(self) -> list[tuple[str, str]]:
        """Return the (name, line) pairs added since the last call; a half line waits."""
        added = []
        for name, path in self._paths.items():
            if _size(path) < self._read[name]:
                self._read[name] = 0
            if _size(path) == self._read[name]:
                continue
            with path.open("rb") as file:
                file.seek(self._read[name])
                text = file.read()
            end = text.rfind(b"\n") + 1
            self._read[name] += end
            added += [(name, line) for line in text[:end].decode(errors="replace").splitlines()]
        return added


def show_logs(
    paths: Mapping[str, Path], *, n_lines: int, follow: bool, write: Callable[[str], None]
) -> None:
    """Write the ends of log files, named if there are several; then what is added, if asked."""
    width = max(map(len, paths)) if len(paths) > 1 else 0

    def show(name: str, line: str) -> None:
        write(f"{name:<{width}} | {line}" if width else line)

    follower = Follower(paths)
    for name, path in paths.items():
        for line in last_lines(path, n_lines):
            show(name, line)
    while follow:
        for name, line in follower.poll():
            show(name, line)
        time.sleep(POLL_S)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
