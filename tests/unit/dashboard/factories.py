"""The dashboard with hand-written stand-ins for everything that it reaches."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from asgi_lifespan import LifespanManager

from analysis.adapters.measurements import DatabaseError
from analysis.core.activity import Minute
from analysis.core.comparison import Arm, Measurements
from analysis.core.moments import MetricAggregate
from analysis.core.timeline import Step, Timeline
from services.dashboard.adapters.peers import Peer, Peers
from services.dashboard.app import Adapters, create_app
from services.dashboard.core.results import Readings
from services.dashboard.settings import Settings
from shared.catalog import Catalog, Track, make_catalog

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
METRIC = "mean_time_per_session"
HTML = {"Accept": "text/html,application/xhtml+xml"}

EXPERIMENTS = """
serving: SERVING
experiments:
  - name: SERVING
    treatments:
      - {name: C, recommender: random}
      - {name: T1, recommender: session}
  - name: AA
    treatments: [{name: C}, {name: T1}]
"""

METRICS_PAGE = """
# TYPE segue_request_duration_seconds histogram
segue_request_duration_seconds_bucket{le="0.001",method="POST",route="/next/{user}",status="200"} 90
segue_request_duration_seconds_bucket{le="0.01",method="POST",route="/next/{user}",status="200"} 100
segue_request_duration_seconds_bucket{le="+Inf",method="POST",route="/next/{user}",status="200"} 100
segue_request_duration_seconds_count{method="POST",route="/next/{user}",status="200"} 100
segue_request_duration_seconds_sum{method="POST",route="/next/{user}",status="200"} 1
segue_request_duration_seconds_count{method="GET",route="/",status="200"} 7
# TYPE segue_model_info gauge
segue_model_info{model_version="v2"} 1
# TYPE segue_spooled_commits gauge
segue_spooled_commits 0
"""


def make_measurements(
    name: str = "SERVING", *, n_users: Mapping[str, int] | None = None, conflicts: int = 0
) -> Measurements:
    """Make an experiment in which T1 doubles the time per session."""
    n_users = {"C": 500, "T1": 500} if n_users is None else n_users
    return Measurements(
        experiment=name,
        arms=[
            Arm(
                treatment=arm,
                n_users=n,
                n_sessions=2 * n,
                n_finished=2 * n,
                n_events=10 * n,
                first_at=NOW,
                last_at=NOW + timedelta(hours=1),
            )
            for arm, n in n_users.items()
        ],
        metrics={
            (arm, METRIC): MetricAggregate(n, 2.0 if arm == "C" else 4.0, 1.0 if n > 1 else None)
            for arm, n in n_users.items()
        },
        n_conflict_users=conflicts,
        n_conflict_events=3 * conflicts,
    )


def make_timeline(measurements: Measurements) -> Timeline:
    """Make a timeline whose two intervals add up to the measurements."""
    steps = []
    for (arm, metric), whole in measurements.metrics.items():
        mean, variance = whole.mean or 0.0, whole.variance or 0.0
        squares = variance * (whole.n_users - 1) + whole.n_users * mean**2
        half = whole.n_users // 2
        steps += [
            Step(
                treatment=arm,
                metric=metric,
                start_at=NOW + timedelta(hours=hour),
                n_sessions=whole.n_users,
                n_users=n_users,
                total=whole.n_users * mean / 2,
                total_squares=squares / 2,
            )
            for hour, n_users in enumerate((half, whole.n_users - half))
        ]
    return Timeline(width=timedelta(hours=1), steps=tuple(steps))


@dataclass
class FakeResults:
    """Results from this process; `fault` makes every call fail."""

    measurements: dict[str, Measurements] = field(
        default_factory=lambda: {"SERVING": make_measurements()}
    )
    minutes: Sequence[Minute] = field(
        default_factory=lambda: [Minute(NOW - timedelta(minutes=1), 50, 40, 4)]
    )
    fault: str | None = None
    n_calls: int = 0

    async def fetch_users_per_arm(self) -> Mapping[str, Mapping[str, int]]:
        """Return the users of the measurements."""
        self._check()
        return {
            name: {arm.treatment: arm.n_users for arm in each.arms}
            for name, each in self.measurements.items()
        }

    async def fetch_readings(self, experiment: str) -> Readings:
        """Return an experiment's measurements."""
        self._check()
        self.n_calls += 1
        found = self.measurements.get(
            experiment, Measurements(experiment=experiment, arms=[], metrics={})
        )
        return Readings(found, make_timeline(found) if found.arms else None)

    async def fetch_minutes(self, now: datetime, *, n_minutes: int) -> Sequence[Minute]:
        """Return the minutes."""
        self._check()
        return self.minutes

    async def ping(self) -> None:
        """Return, unless there is a fault."""
        self._check()

    def _check(self) -> None:
        if self.fault is not None:
            raise DatabaseError(self.fault)


def make_model(version: str, *, parent: str | None = None, active: bool = False) -> dict[str, Any]:
    """Make a model version as the trainer shows it."""
    return {
        "model_version": version,
        "recipe": "session",
        "created_at": "2026-03-10T12:00:00Z",
        "parent": parent,
        "data_from": None,
        "data_until": "2026-03-10T11:00:00Z",
        "n_sessions": 100,
        "n_playbacks": 1234,
        "parameters": {"dim": 8, "since": None},
        "seed": 0,
        "code_version": "1",
        "metrics": {"recall_at_k": 0.25, "training_s": 3.0},
        "active": active,
        "available": True,
    }


JOB_ID = "8d1f7a80-0000-4000-8000-000000000000"


def make_job(version: str) -> dict[str, Any]:
    """Make a training as the trainer shows it."""
    losses = [{"epoch": n, "train": 1 / n, "validation": 2 / n} for n in (1, 2, 3)]
    return {
        "job_id": JOB_ID,
        "status": "succeeded",
        "parameters": {"recipe": "session"},
        "model_version": version,
        "progress": {"losses": losses},
    }


class FakeServices:
    """Trainer, recommender and logger; each name in `away` does not answer."""

    def __init__(self) -> None:
        """Let two versions be there, of which the second serves."""
        self.away: set[str] = set()
        self.models = [make_model("v2", parent="v1", active=True), make_model("v1")]
        self.jobs = [make_job("v2")]
        self.artifacts = ["embedding_map.png"]
        self.map: Any = {
            "n_laid_out": 2, "tracks": [101, 102, 103], "x": [0.0, 9.0, 4.0], "y": [0.0, 9.0, 4.0]
        }  # fmt: skip
        self.metrics_page = METRICS_PAGE
        self.requests: list[tuple[str, str]] = []
        self.reports: list[dict[str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, as the service of its host would."""
        name, path = request.url.host, request.url.path
        if name in self.away:
            raise httpx.ConnectError("connection refused")
        self.requests.append((request.method, path))
        if path == "/health/live":
            return httpx.Response(200, json={"status": "ok"})
        answers: dict[str, Callable[[httpx.Request, str], httpx.Response]] = {
            "trainer": self._train,
            "recommender": self._recommend,
            "logger": self._log,
        }
        return answers[name](request, path)

    def peers(self) -> Peers:
        """Return the services as the dashboard calls them."""
        transport = httpx.MockTransport(self.answer)
        return Peers(
            **{
                name: Peer(name, httpx.AsyncClient(transport=transport, base_url=f"http://{name}"))
                for name in ("recommender", "trainer", "logger")
            }
        )

    def _train(self, request: httpx.Request, path: str) -> httpx.Response:
        versions = {model["model_version"]: model for model in self.models}
        parts = path.strip("/").split("/")
        match (request.method, *parts):
            case ("GET", "models"):
                return httpx.Response(200, json=self.models)
            case ("GET", "train"):
                return httpx.Response(200, json=self.jobs)
            case ("POST", "models", "rollback"):
                return self._activate("v1")
            case ("POST", "models", version, "activate") if version in versions:
                return self._activate(version)
            case ("GET", "models", version) if version in versions:
                return httpx.Response(200, json=versions[version])
            case ("GET", "train", _, "artifacts", *names):
                return self._send_artifact(*names)
        return httpx.Response(404, json={"detail": f"there is no {path}"})

    def _send_artifact(self, name: str = "") -> httpx.Response:
        """Send an artifact, or without a name the list of them."""
        match name:
            case "":
                return httpx.Response(200, json=[{"name": each} for each in self.artifacts])
            case "map.json":
                return httpx.Response(200, json=self.map)
            case "embedding_map.png":
                return httpx.Response(200, content=b"png", headers={"Content-Type": "image/png"})
        return httpx.Response(404, json={"detail": f"there is no {name}"})

    def _activate(self, version: str) -> httpx.Response:
        for model in self.models:
            model["active"] = model["model_version"] == version
        return httpx.Response(200, json={"active": version})

    def _recommend(self, request: httpx.Request, path: str) -> httpx.Response:
        if path == "/metrics":
            return httpx.Response(200, text=self.metrics_page)
        self.reports.append({"path": path, **json.loads(request.content)})
        if path.startswith("/last/"):
            return httpx.Response(200, json={"user": 1, "session": "s"})
        answer = {
            "user": 1,
            "track": 102,
            "recommender": "session",
            "propensity": 1.0,
            "model_version": "v2",
            "explanation": {
                "anchor": 101,
                "pool": 2004,
                "heard": 3,
                "capped": 2,
                "score": 0.87654,
                "discount": 0.8,
                "candidates": 1999,
                "uncertainty": 0.5,
            },
        }
        return httpx.Response(200, json=answer)

    def _log(self, request: httpx.Request, path: str) -> httpx.Response:
        lag = {"undelivered": 2, "pending": 3, "dead_letters": 1, "consumer": "ok"}
        return httpx.Response(200, json=lag)


def make_tracks() -> Catalog:
    """Make a catalogue of four tracks."""
    return make_catalog(
        [
            Track(101, "Björk & Co", "Jóga <live>"),
            Track(102, "The Shadows", "Apache", "surf"),
            Track(103, "Shadow Band", "River of Glass"),
            Track(104, "Meshadow", "Glass"),
        ]
    )


@dataclass
class Dashboard:
    """The service with stand-ins behind it."""

    client: httpx.AsyncClient
    results: FakeResults
    services: FakeServices
    clock: list[float]

    async def page(self, path: str, *, status: int = 200) -> str:
        """Return a page as a browser gets it."""
        answer = await self.client.get(path, headers=HTML)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"].startswith("text/html")
        return answer.text

    async def token(self, path: str) -> str:
        """Return the token of a page's form."""
        page = await self.page(path)
        return page.split('name="token" value="')[1].split('"')[0]

    async def send(self, path: str, form: Mapping[str, str], **headers: str) -> httpx.Response:
        """Send a form."""
        return await self.client.post(path, data=dict(form), headers=HTML | headers)


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *, experiments: str = EXPERIMENTS, **changes: Any
) -> AsyncIterator[Dashboard]:
    """Serve the dashboard; time stands still unless the test moves it."""
    definitions = folder / "experiments.yaml"
    definitions.write_text(experiments)
    results, services, clock = FakeResults(), FakeServices(), [0.0]

    async def fetch_catalog() -> Catalog:
        if "catalog" in services.away:
            raise OSError("connection refused")
        return make_tracks()

    adapters = Adapters(
        results=results,
        peers=services.peers(),
        fetch_catalog=fetch_catalog,
        seconds=lambda: clock[0],
        now=lambda: NOW,
    )
    settings = Settings(experiments=definitions, patience_s=30, fresh_s=5, **changes)
    async with LifespanManager(create_app(settings, adapters)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield Dashboard(client, results, services, clock)
