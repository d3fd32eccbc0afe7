"""Stand-ins for the services, on a real socket, that answer as a test tells them to."""

import asyncio
import json

from aiohttp import web
from aiohttp.test_utils import TestServer


class FakeRecommender:
    """Recommends the next track id, and remembers every request.

    Attributes:
        url: Where it answers, once it runs.
        requests: (path, body, idempotency key) of each.
        breaks_at: The request that is answered with 500, counted from 1.
        faults: Answers given before the usual one, first come first served.
        delay_s: That every answer takes.
        experiments: Treatments of the experiment SPLIT, if there is one.
        active: Episode per user with an open session.
        overlaps: Requests of a user that came between those of an open session.
    """

    def __init__(self, n_tracks: int) -> None:
        self.delay_s = 0.0
        self.experiments: tuple[str, ...] = ()
        self.url = ""
        self.breaks_at = 0
        self.n_tracks = n_tracks
        self.requests: list[tuple[str, dict[str, float], str]] = []
        self.faults: list[web.Response | None] = []
        self.active: dict[str, int] = {}
        self.overlaps = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        user = request.match_info["user"]
        body = await request.json()
        self.requests.append((request.path, body, request.headers["Idempotency-Key"]))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if len(self.requests) == self.breaks_at:
            return web.Response(status=500)
        if self.faults:
            fault = self.faults.pop(0)
            if fault is None:  # cut the connection
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            return fault
        self._note_session(user, request.path, request.headers["Idempotency-Key"])
        if request.path.startswith("/last"):
            return web.json_response({"user": int(user)})
        track = (body["track"] * 7 + 3) % self.n_tracks
        answer = {"user": int(user), "track": track, "recommender": "fake"}
        if self.experiments:
            arm = self.experiments[int(user) % len(self.experiments)]
            answer["experiments"] = {"SPLIT": arm}
        return web.json_response(answer)

    def _note_session(self, user: str, path: str, key: str) -> None:
        episode = key.split(":")[1]
        if self.active.setdefault(user, int(episode)) != int(episode):
            self.overlaps += 1
        if path.startswith("/last"):
            del self.active[user]

    def make_server(
        self, port: int | None = None, *, beside: "FakeLaboratory | None" = None
    ) -> TestServer:
        app = web.Application() if beside is None else beside.make_app()
        app.router.add_post("/next/{user}", self.answer)
        app.router.add_post("/last/{user}", self.answer)
        return TestServer(app, port=port)


class FakeLaboratory:
    """A logger, a trainer and a recommender's metrics in one, with a model that takes a moment.

    Attributes:
        lags: Events behind, first come first served; then none.
        outcome: How trainings end.
        busy: Trainings of others that are found running.
        promotes: Whether a version becomes the active one.
        follows: Looks that the recommender takes to see the active one.
        done: What happened, in order.
    """

    def __init__(self) -> None:
        self.lags: list[int] = []
        self.outcome: dict[str, object] = {"status": "succeeded", "model_version": "m-1"}
        self.busy = 0
        self.promotes = True
        self.follows = 2
        self.done: list[str] = []
        self.orders: list[dict[str, object]] = []
        self._polls = 0

    async def get_lag(self, _: web.Request) -> web.Response:
        lag = self.lags.pop(0) if self.lags else 0
        self.done.append(f"lag {lag}")
        return web.json_response({"undelivered": lag, "pending": 0, "dead_letters": 0})

    async def start_training(self, request: web.Request) -> web.Response:
        if self.busy:
            self.busy -= 1
            return web.json_response({"detail": "a training is running"}, status=409)
        self.orders.append(await request.json())
        self.done.append("train")
        self._polls = 0
        return web.json_response({"job_id": "ours", "status": "running"}, status=202)

    async def list_trainings(self, _: web.Request) -> web.Response:
        return web.json_response([{"job_id": "theirs", "status": "running"}])

    async def get_training(self, request: web.Request) -> web.Response:
        job = {"job_id": request.match_info["job"], "status": "running"}
        self._polls += 1
        if job["job_id"] == "theirs":
            return web.json_response(job | {"status": "succeeded", "finished_at": "now"})
        if self._polls == 1:
            return web.json_response(job | {"progress": {"stage": "fitting"}})
        return web.json_response(job | {"finished_at": "now"} | self.outcome)

    async def get_model(self, _: web.Request) -> web.Response:
        return web.json_response({"active": self.promotes})

    async def get_metrics(self, _: web.Request) -> web.Response:
        self.follows -= 1
        version = "m-1" if self.follows < 0 else "m-0"
        self.done.append(f"serves {version}")
        return web.Response(text=f'# HELP\nsegue_model_info{{model_version="{version}"}} 1.0\n')

    async def get_decision(self, request: web.Request) -> web.Response:
        experiment, alpha = request.match_info["experiment"], request.query["alpha"]
        self.done.append(f"decision {experiment} {alpha}")
        return web.json_response({"decision": {"reached": True, "reason": "always valid"}})

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/decision/{experiment}", self.get_decision)
        app.router.add_get("/lag", self.get_lag)
        app.router.add_get("/train", self.list_trainings)
        app.router.add_post("/train", self.start_training)
        app.router.add_get("/train/{job}", self.get_training)
        app.router.add_get("/models/{version}", self.get_model)
        app.router.add_get("/metrics", self.get_metrics)
        return app

    def make_server(self) -> TestServer:
        return TestServer(self.make_app())


class FakeLogger:
    """Stores lines by their event id."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, object]] = {}
        self.types: set[str] = set()
        self.n_requests = 0
        self.rejects = False
        self.faults: list[web.Response] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.n_requests += 1
        self.types.add(request.content_type)
        events = [json.loads(line) for line in (await request.read()).splitlines()]
        if self.faults:
            return self.faults.pop(0)
        new = {e["event_id"]: e for e in events if e["event_id"] not in self.stored}
        if self.rejects:
            new = {}
        self.stored |= new
        n_rejected = len(events) if self.rejects else 0
        return web.json_response(
            {
                "received": len(events),
                "stored": len(new),
                "duplicates": len(events) - len(new) - n_rejected,
                "rejected": n_rejected,
                "reasons": ["track: too large"] if self.rejects else [],
            }
        )

    def make_server(self) -> TestServer:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/events", self.answer)
        return TestServer(app)
