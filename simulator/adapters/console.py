"""A person at the terminal recommends."""

import signal

from rich.console import Console

from shared.catalog import Catalog
from simulator.core.live_session import LiveSession
from simulator.results import Served

_N_FOUND = 10
_HELP = "a track id recommends it; words search titles and artists; ? helps; Ctrl-C leaves"


class PersonLeftError(Exception):
    """The person at the terminal has had enough."""


class ConsoleRecommender:
    """Shows what the listener did, and asks what comes next."""

    def __init__(self, catalog: Catalog, console: Console) -> None:
        """Speak to a person."""
        self._catalog = catalog
        self._console = console
        self._texts = [f"{track.artist} {track.title}".casefold() for track in catalog.tracks]

    async def recommend(self, session: LiveSession) -> Served:
        """Show the latest playback and ask until a track is named.

        Raises:
            PersonLeftError: At Ctrl-C or the end of the input.
        """
        if session.position == 0:
            self._console.print(f"\n[bold]User {session.user}[/] starts a session. {_HELP}")
        self._show(session)
        while True:
            row = self._read(self._ask().strip())
            if row is not None:
                return Served(row, "console")

    async def finish(self, session: LiveSession) -> None:
        """Show the last playback."""
        self._show(session)
        self._console.print(
            f"The listener leaves after {session.n_tracks} tracks, "
            f"{session.total_time:.2f} of them heard."
        )

    def _ask(self) -> str:
        # Blocks the loop: there is one listener. asyncio would keep the first Ctrl-C for itself.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return self._console.input("recommend> ")
        except (EOFError, KeyboardInterrupt):
            # Not KeyboardInterrupt: it would end the event loop and leave its tasks behind.
            raise PersonLeftError from None
        finally:
            signal.signal(signal.SIGINT, handler)

    def _read(self, answer: str) -> int | None:
        if answer.isdecimal():
            row = self._catalog.row_of.get(int(answer))
            if row is None:
                self._console.print(f"no track {answer}")
            return row
        if answer in {"", "?"}:
            self._console.print(_HELP)
            return None
        words = answer.casefold().split()
        rows = [i for i, text in enumerate(self._texts) if all(word in text for word in words)]
        for row in rows[:_N_FOUND]:
            self._console.print(self._describe(row), markup=False)
        if len(rows) > _N_FOUND or not rows:
            self._console.print(f"{len(rows)} tracks match")
        return None

    def _show(self, session: LiveSession) -> None:
        self._console.print(f"{session.time:4.0%} of {self._describe(session.track)}", markup=False)

    def _describe(self, row: int) -> str:
        track = self._catalog.tracks[row]
        genre = f" ({track.genre})" if track.genre else ""
        return f"{track.track:>6}  {track.artist}: {track.title}{genre}"
