"""Listeners who report until they are answered, and write down every attempt."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from uuid import UUID

import httpx
import msgspec

from benchmarks.chaos.records import Answered, Attempt, Step
from shared.catalog import Catalog
from simulator.core.dynamics import Dynamics
from simulator.core.live_session import LiveSession
from simulator.live import Watch, play_episodes
from simulator.results import Served

REQUEST_TIMEOUT_S = 5.0
PATIENCE_S = 120.0
PAUSE_S = 0.1  # before the same request again
_AGAIN = frozenset({429, 503})


class UnexpectedAnswerError(Exception):
    """An answer that no fault excuses."""


class _Body(msgspec.Struct):
    session: UUID
    track: int | None = None
    fallback: str | None = None


class RecordingListeners:
    """Plays sessions against one recommender or several, and keeps a record of each step.

    Attributes:
        steps: In order of beginning.
        urls: Of the recommenders, asked in turns; may be changed at any time.
    """

    def __init__(self, urls: Sequence[str], catalog: Catalog, *, run_id: str) -> None:
        """Prepare; `run_id` makes the keys of this run its own."""
        self.urls = urls
        self.steps: list[Step] = []
        self._catalog = catalog
        self._run_id = run_id
        self._turn = itertools.count()
        self._client = httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=False)
        self._decode = msgspec.json.Decoder(_Body).decode

    async def recommend(self, session: LiveSession) -> Served:
        """Report the latest playback and return what is recommended."""
        answer = await self._report("next", session)
        assert answer.recommendation is not None
        return Served(self._catalog.row_of[answer.recommendation], fallback=answer.fallback)

    async def finish(self, session: LiveSession) -> None:
        """Report the last playback."""
        await self._report("last", session)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _report(self, message: str, session: LiveSession) -> Answered:
        track = int(self._catalog.track_ids[session.track])
        step = Step(session.episode, session.user, message, track, session.time)
        self.steps.append(step)
        key = f"{self._run_id}:{session.episode}:{session.position}"
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            body = await self._attempt(step, key)
            if body is not None:
                step.answer = Answered(body.session, body.track, body.fallback)
                return step.answer
            await asyncio.sleep(PAUSE_S)
        raise UnexpectedAnswerError(f"user {session.user} was not answered in {PATIENCE_S:g} s")

    async def _attempt(self, step: Step, key: str) -> _Body | None:
        urls = self.urls
        url = f"{urls[next(self._turn) % len(urls)]}/{step.message}/{step.user}"
        began_at, status = time.time(), None
        try:
            response = await self._client.post(
                url,
                json={"track": step.track, "time": step.time},
                headers={"Idempotency-Key": key},
            )
            status = response.status_code
        except httpx.TransportError:
            return None
        finally:
            step.attempts.append(Attempt(began_at, time.time(), status))
        if status == 200:
            return self._decode(response.content)
        if status not in _AGAIN:
            raise UnexpectedAnswerError(f"{url} answered {status}: {response.text[:300]}")
        return None


@contextlib.contextmanager
def playing(
    listeners: RecordingListeners, dynamics: Dynamics, *, seed: int, concurrency: int
) -> Iterator[None]:
    """Let listeners play, in a thread of their own; at the end all sessions are closed.

    Raises:
        UnexpectedAnswerError: If a listener met one.
    """
    loop = asyncio.new_event_loop()
    watch = Watch(lambda _: None)
    errors: list[BaseException] = []

    async def play() -> None:
        try:
            await play_episodes(
                dynamics,
                listeners,
                seed=seed,
                episodes=itertools.count(),
                concurrency=concurrency,
                watch=watch,
            )
        finally:
            await listeners.close()

    def work() -> None:
        try:
            loop.run_until_complete(play())
        except Exception as error:
            errors.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="listeners")
    thread.start()
    try:
        yield
    finally:
        if thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(watch.stops.set)
        thread.join()
    if errors:
        raise errors[0]
