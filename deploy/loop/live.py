"""The engine of a live stack: listeners over HTTP, trainings from what the logger stored."""

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections.abc import Coroutine, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from redis.exceptions import RedisError
from rich.console import Console

from deploy.local.programs import Stack
from deploy.local.segue import create_demo_settings, create_stack
from deploy.local.settings import (
    SERVERS,
    SERVICES,
    parse_settings,
    port_setting,
    read_environment,
)
from deploy.local.stack import clean, down, up
from deploy.loop.engine import Trained
from deploy.loop.plan import Plan
from deploy.loop.plays import Visits, from_rollout, join_plays
from deploy.services import (
    count_fallbacks,
    fetch_metrics,
    train,
    wait_for_logger,
    wait_for_model,
    wait_for_spool,
)
from deploy.settings import DemoSettings
from deploy.steps import Show, StepError, count_up
from shared.artifacts import ArtifactError, ModelVersion, fetch_model
from shared.exposure import make_authorization
from shared.redis_client import create_redis
from simulator.adapters.logger_client import Receipt, send_events
from simulator.adapters.patient_http import PatientClient, ServiceError
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.adapters.world_files import load_world
from simulator.core.dynamics import Dynamics
from simulator.core.world import World, make_dynamics
from simulator.history import History, make_events, play_history
from simulator.live import Watch, play_episodes, prepare
from simulator.results import Result
from simulator.worlds import create_world

T = TypeVar("T")

CONCURRENCY = 64
MODEL_TIMEOUT_S = 60.0
_EVENTS_AT_ONCE, _REQUESTS_AT_ONCE = 2_000, 4
_CHUNK_TIMEOUT_S, _STEP_TIMEOUT_S, _PATIENCE_S = 60.0, 30.0, 60.0


@dataclasses.dataclass(frozen=True)
class Live:
    """Talks to the services of one stack.

    Attributes:
        plan: Of the loop.
        world: The same that the stack serves.
        dynamics: Its listeners.
        limits: Where the services are, and what they may take.
        environment: Of the services.
    """

    plan: Plan
    world: World
    dynamics: Dynamics
    limits: DemoSettings
    environment: Mapping[str, str]

    def log_history(self, show: Show) -> Visits:
        """Send the history to the logger, as of yesterday."""
        played = play_history(self.dynamics, seed=self.plan.seed, n_sessions=self.plan.history)
        receipt = _run(self._send(played, show))
        n_stored = receipt.stored + receipt.duplicates  # of chunks that had to be sent again
        if n_stored != played.n_playbacks:
            raise StepError(f"of {played.n_playbacks:,} events {n_stored:,} were stored")
        return join_plays([from_rollout(part) for part in played.parts if len(part)]).visits

    def train(self, day: int, show: Show) -> Trained:
        """Order a training, and wait until its version serves."""
        version, *_ = train(
            self.limits.trainer_url,
            timeout_s=self.limits.training_timeout_s,
            show=show,
            order={
                "recipe": "session",
                "seed": self.plan.seed,
                "promote": "always",
                "warm_start": day > 1,
            },
            headers=make_authorization(self.limits.api_token),
        )
        metrics = fetch_metrics(self.limits.trainer_url, version)
        wait_for_model(self.limits.recommender_url, version, timeout_s=MODEL_TIMEOUT_S)
        model = _run(self.fetch(version))
        return Trained(
            version=version, arrays=model.arrays, metrics=metrics, seconds=metrics["training_s"]
        )

    def play_day(self, day: int, show: Show) -> Visits:
        """Let listeners meet the recommender, and wait until the log has it all."""
        episodes = self.plan.episodes(day)
        before = count_fallbacks(self.limits.recommender_url, "session")
        prepare(self.dynamics, self.plan.seed, episodes)
        results: list[Result] = []
        _run(self._meet(episodes.tolist(), results, show))
        wait_for_spool(self.limits.recommender_url, timeout_s=self.limits.lag_timeout_s)
        wait_for_logger(self.limits.logger_url, timeout_s=self.limits.lag_timeout_s, show=show)
        results.sort(key=lambda result: result.episode)
        return Visits(
            users=np.array([result.user for result in results], np.int32),
            times=np.array([result.time for result in results]),
            lengths=np.array([result.tracks for result in results], np.int32),
            n_fallbacks=count_fallbacks(self.limits.recommender_url, "session") - before,
        )

    async def fetch(self, version: str) -> ModelVersion:
        """Fetch a model version, as the recommender does."""
        url = self.environment["SEGUE_REDIS_URL"]
        async with create_redis(url, timeout_s=_STEP_TIMEOUT_S) as redis:
            return await fetch_model(redis, version)

    async def _send(self, played: History, show: Show) -> Receipt:
        n_sent = count_up(show, played.n_playbacks, "events")
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        async with self._client(
            self.limits.logger_url, _CHUNK_TIMEOUT_S, _REQUESTS_AT_ONCE, show
        ) as client:
            return await send_events(
                client,
                make_events(played, self.world.catalog, yesterday),
                chunk=_EVENTS_AT_ONCE,
                n_parallel=_REQUESTS_AT_ONCE,
                on_receipt=lambda receipt: n_sent(receipt.received),
            )

    async def _meet(self, episodes: list[int], results: list[Result], show: Show) -> None:
        n_done = count_up(show, len(episodes), "sessions")

        def note(result: Result) -> None:
            results.append(result)
            n_done(1)

        run_id = str(time.time_ns())
        async with self._client(
            self.limits.recommender_url, _STEP_TIMEOUT_S, CONCURRENCY, show
        ) as client:
            recommender = RemoteRecommender(
                client, self.world.catalog, seed=self.plan.seed, run_id=run_id
            )
            await play_episodes(
                self.dynamics,
                recommender,
                seed=self.plan.seed,
                episodes=episodes,
                concurrency=CONCURRENCY,
                watch=Watch(note, most_tracks=self.plan.most_plays),
            )

    def _client(self, url: str, timeout_s: float, n_connections: int, show: Show) -> PatientClient:
        is_protected = url == self.limits.logger_url
        return PatientClient(
            url,
            timeout_s=timeout_s,
            patience_s=_PATIENCE_S,
            max_connections=n_connections,
            notify=show,
            headers=make_authorization(self.limits.api_token) if is_protected else None,
        )


@contextlib.contextmanager
def open_live(plan: Plan, state: Path, console: Console) -> Iterator[Live]:
    """Start a stack of the loop's own, empty, and stop it at the end; its data stays for a look.

    Raises:
        DeployError: If it does not start.
    """
    stack = _create_stack(plan, state, console)
    clean(stack, console)
    try:
        up(stack, console)
        world = load_world(stack.state / "world")
        yield Live(
            plan,
            world,
            make_dynamics(world),
            create_demo_settings(stack.settings),
            stack.settings.environment,
        )
    finally:
        down(stack, console)


def _create_stack(plan: Plan, state: Path, console: Console) -> Stack:
    """Wire a stack that disturbs no other: another folder, and ports that nobody listens on."""
    environment = read_environment()
    names = [*SERVERS, *SERVICES]
    ports = {
        port_setting(name): str(port)
        for name, port in zip(names, free_ports(len(names)), strict=True)
    }
    world = state.resolve() / "world"
    definition = world / "experiments.yaml"
    own = {
        "SEGUE_STATE": str(state.resolve()),
        "SEGUE_RECOMMENDER_CATALOG": str(world / "tracks.json"),
        "SEGUE_RECOMMENDER_EXPERIMENTS": str(definition),
        "SEGUE_DASHBOARD_EXPERIMENTS": str(definition),
    }
    settings = parse_settings(environment | ports | own)

    def make_world() -> None:
        create_world(plan.world, world)
        definition.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(plan.experiments())))

    return dataclasses.replace(create_stack(settings, console), make_world=make_world)


def free_ports(n: int) -> list[int]:
    """Return ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (ServiceError, ArtifactError, RedisError) as error:
        raise StepError(str(error)) from error
