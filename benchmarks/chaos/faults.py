"""The faults: what is done to a stack under traffic, and what it may not cost."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import httpx

from benchmarks.chaos.laboratory import Laboratory
from benchmarks.chaos.poison import make_mixture
from benchmarks.chaos.reconciliation import Fact, fact_of_event
from benchmarks.chaos.stepped_clock import OFFSETS_S
from benchmarks.chaos.traffic import RecordingListeners
from deploy.local.programs import ready_check
from deploy.loop.live import free_ports
from deploy.services import wait_for_logger
from shared.event_stream import FIELD, STREAM_KEY
from shared.events import decode_event

REQUEST_TIMEOUT_S = 30.0
DRAIN_TIMEOUT_S = 120.0
DELAY_S = 0.5
ROOM_BYTES = 500_000  # that Redis has left when it is called full


@dataclass(frozen=True)
class Aftermath:
    """What a fault leaves beside its damage.

    Attributes:
        note: What was done, for the table.
        expected: Ids of events that it sent, due once each.
        n_dead_letters: That it sent.
        clocks_s: By how much the clocks that named times were off.
        destroyed: What the stream held when it was destroyed, if it was.
    """

    note: str = ""
    expected: frozenset[UUID] = frozenset()
    n_dead_letters: int = 0
    clocks_s: tuple[float, ...] = (0.0,)
    destroyed: frozenset[Fact] = frozenset()


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        title: For the table.
        strike: Does it, for so many seconds if it lasts, and undoes what does not heal by itself.
        may_cut: Whether a listener's session may begin anew without saying so: its state was lost.
    """

    title: str
    strike: Callable[[Laboratory, RecordingListeners, float], Aftermath]
    may_cut: bool = False


def _killing(name: str) -> Callable[[Laboratory, RecordingListeners, float], Aftermath]:
    def strike(lab: Laboratory, _: RecordingListeners, __: float) -> Aftermath:
        lab.kill(name)
        return Aftermath()

    return strike


def _kill_worker(lab: Laboratory, _: RecordingListeners, __: float) -> Aftermath:
    lab.kill_worker("recommender")
    return Aftermath()


def _kill_trainer(lab: Laboratory, _: RecordingListeners, __: float) -> Aftermath:
    """Kill the trainer with a job at work; the next one must be accepted."""
    answer = httpx.post(f"{lab.url('trainer')}/train", json={}, timeout=REQUEST_TIMEOUT_S)
    answer.raise_for_status()
    lab.kill("trainer")
    lab.wait_until_ready()
    job = httpx.get(
        f"{lab.url('trainer')}{answer.headers['Location']}", timeout=REQUEST_TIMEOUT_S
    ).json()
    return Aftermath(f"its job: {job['status']}")


def _restart_redis(lab: Laboratory, _: RecordingListeners, __: float) -> Aftermath:
    lab.stop("redis")
    lab.start("redis")
    return Aftermath()


def _empty_redis(lab: Laboratory, _: RecordingListeners, __: float) -> Aftermath:
    """Destroy what Redis keeps; look first what that is, on a copy."""
    lab.stop("redis")
    with lab.stopped_redis() as redis:
        entries = redis.xrange(STREAM_KEY)
    events = [decode_event(fields[FIELD]) for _, fields in entries]
    lab.forget_redis()
    lab.start("redis")
    return Aftermath(destroyed=frozenset(map(fact_of_event, events)))


def _stop_postgres(lab: Laboratory, _: RecordingListeners, seconds: float) -> Aftermath:
    lab.stop("postgres")
    time.sleep(seconds)
    lab.start("postgres")
    return Aftermath(f"away for {seconds:g} s")


def _fill_stream(lab: Laboratory, _: RecordingListeners, seconds: float) -> Aftermath:
    """Let the stream grow, with no logger, until Redis has no memory left."""
    loggers = [each.name for each in lab.stack.programs if each.name.startswith("logger")]
    lab.stop(*loggers)
    with lab.redis() as redis:
        redis.config_set("maxmemory", redis.info("memory")["used_memory"] + ROOM_BYTES)
        try:
            time.sleep(seconds)
            n_entries = redis.xlen(STREAM_KEY)
            n_refused = _count_refused(redis.info("errorstats"))
            lab.start(*loggers)
            lab.wait_until_ready()
            wait_for_logger(lab.url("logger"), timeout_s=DRAIN_TIMEOUT_S, show=lambda _: None)
        finally:
            redis.config_set("maxmemory", 0)  # sessions alone may fill what is left
    return Aftermath(f"{n_entries:,} entries, then {n_refused:,} writes refused")


def _count_refused(errors: Mapping[str, Mapping[str, int]]) -> int:
    return errors.get("errorstat_OOM", {}).get("count", 0)


def _delay_redis(lab: Laboratory, _: RecordingListeners, seconds: float) -> Aftermath:
    assert lab.proxy is not None
    lab.proxy.delay_s = DELAY_S
    time.sleep(seconds)
    lab.proxy.delay_s = 0.0
    return Aftermath(f"for {seconds:g} s")


def _swap_models(lab: Laboratory, _: RecordingListeners, seconds: float) -> Aftermath:
    """Activate the two newest versions in turns, once a second."""
    with httpx.Client(base_url=lab.url("trainer"), timeout=REQUEST_TIMEOUT_S) as trainer:
        versions = [model["model_version"] for model in trainer.get("/models").json()][:2]
        assert len(versions) == 2, "two model versions are needed"
        deadline = time.monotonic() + seconds
        n_swaps = 0
        while time.monotonic() < deadline:
            trainer.post(f"/models/{versions[n_swaps % 2]}/activate").raise_for_status()
            n_swaps += 1
            time.sleep(1)
    return Aftermath(f"{n_swaps} swaps")


def _poison(lab: Laboratory, _: RecordingListeners, __: float) -> Aftermath:
    """Send poison and good events through the stream and in bulk; all good ones both ways."""
    streamed, posted = make_mixture("stream"), make_mixture("bulk")
    with lab.redis() as redis:
        redis.xadd(STREAM_KEY, {"another": "field"})
        for payload in (*streamed.payloads, *posted.payloads[::2]):
            redis.xadd(STREAM_KEY, {FIELD: payload})
    receipt = httpx.post(
        f"{lab.url('logger')}/events",
        content=b"\n".join(posted.payloads),
        headers={"Content-Type": "application/x-ndjson"},
        timeout=REQUEST_TIMEOUT_S,
    ).raise_for_status()
    assert receipt.json()["rejected"] == posted.n_poison, receipt.text
    n_dead_letters = 1 + streamed.n_poison + posted.n_poison
    expected = frozenset([*streamed.expected, *posted.expected])
    return Aftermath(f"{n_dead_letters} dead letters", expected, n_dead_letters)


def _step_clock(lab: Laboratory, listeners: RecordingListeners, seconds: float) -> Aftermath:
    """Put a recommender with a jumping clock beside the others, on the same sessions."""
    (port,) = free_ports(1)
    url, others = f"http://127.0.0.1:{port}", listeners.urls
    with _running(["benchmarks.chaos.stepped_clock", str(port)], lab):
        is_ready = ready_check(url)
        while not is_ready():
            time.sleep(0.1)
        listeners.urls = [*others, url]
        time.sleep(seconds)
        listeners.urls = others
        time.sleep(1)  # what is on its way to it
    hours = ", ".join(f"{offset / 3600:+g}" for offset in OFFSETS_S)
    return Aftermath(f"{hours} h", clocks_s=OFFSETS_S)


@contextlib.contextmanager
def _running(module: list[str], lab: Laboratory) -> Iterator[None]:
    with lab.stack.log("stepped_clock").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env=dict(lab.stack.settings.environment) | {"SEGUE_RECOMMENDER_WORKERS": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


FAULTS: Mapping[str, Fault] = {
    "recommender-worker": Fault("kill -9 a recommender worker", _kill_worker),
    "recommender": Fault("kill -9 the recommender's parent", _killing("recommender")),
    "logger": Fault("kill -9 a logger", _killing("logger")),
    "logger-2": Fault("kill -9 the other logger", _killing("logger-2")),
    "trainer": Fault("kill -9 the trainer at work", _kill_trainer),
    "dashboard": Fault("kill -9 the dashboard", _killing("dashboard")),
    "redis": Fault("kill -9 Valkey", _killing("redis")),
    "postgres": Fault("kill -9 Postgres", _killing("postgres")),
    "redis-restart": Fault("restart Valkey", _restart_redis),
    "redis-empty": Fault("Valkey comes back empty", _empty_redis, may_cut=True),
    "postgres-away": Fault("stop Postgres", _stop_postgres),
    "stream-full": Fault("no loggers until Redis is full", _fill_stream),
    "redis-slow": Fault("Redis 500 ms slower", _delay_redis),
    "model-swaps": Fault("another model every second", _swap_models),
    "poison": Fault("poison in the stream and in bulk", _poison),
    "clock": Fault("a recommender's clock jumps", _step_clock),
}
