"""The live recommender, over botify's HTTP API."""

import re

import msgspec

from shared.catalog import Catalog
from shared.events import Id
from shared.tracing import Tracing, trace_headers
from simulator.adapters.patient_http import Answer, PatientClient, ServiceError
from simulator.core.live_session import LiveSession
from simulator.results import Served

_SERVING = re.compile(r'^segue_model_info\{model_version="([^"]+)"\} 1', re.MULTILINE)


class _Told(msgspec.Struct, gc=False):
    """What we need of an answer; botify's has the first two fields, any may add more."""

    user: Id
    track: Id | None = None
    recommender: str | None = None
    model_version: str | None = None
    propensity: float | None = None
    fallback: str | None = None
    experiments: dict[str, str] = {}


class RemoteRecommender:
    """Asks the live service; every step can be repeated without being counted twice."""

    def __init__(
        self,
        client: PatientClient,
        catalog: Catalog,
        *,
        seed: int,
        run_id: str,
        tracing: Tracing | None = None,
    ) -> None:
        """Speak to a service.

        Args:
            client: Open.
            catalog: That recommendations must come from.
            seed: Of the run.
            run_id: Tells two runs with the same seed apart.
            tracing: Makes every step a trace.
        """
        self._tracing = tracing
        self._client = client
        self._catalog = catalog
        self._seed = seed
        self._run_id = run_id.encode()
        self._decoder = msgspec.json.Decoder(_Told)

    async def recommend(self, session: LiveSession) -> Served:
        """Report the latest playback and return what is recommended.

        Raises:
            ServiceError: If the service is away for too long, or its answer is no recommendation.
        """
        path = f"/next/{session.user}"
        answer = await self._post(path, session)
        told = self._decode(answer, session)
        if told.track is None:
            raise ServiceError(f"{answer.url}: recommends no track: {answer.excerpt}")
        row = self._catalog.row_of.get(told.track)
        if row is None:
            raise ServiceError(
                f"{answer.url}: recommends track {told.track}, which is not in the catalogue; "
                "does the service serve another world?"
            )
        return Served(
            row,
            told.recommender,
            told.model_version,
            told.propensity,
            told.fallback,
            told.experiments,
        )

    async def finish(self, session: LiveSession) -> None:
        """Report the last playback.

        Raises:
            ServiceError: If the service is away for too long, or its answer is rubbish.
        """
        self._decode(await self._post(f"/last/{session.user}", session), session)

    async def _post(self, path: str, session: LiveSession) -> Answer:
        track = int(self._catalog.track_ids[session.track])
        body = b'{"track":%d,"time":%r}' % (track, session.time)
        key = (self._seed, session.episode, session.position, self._run_id)
        headers = {b"Content-Type": b"application/json", b"Idempotency-Key": b"%d:%d:%d:%b" % key}
        if self._tracing is None:
            return await self._client.post(path, body, headers)
        step = {"segue.episode": session.episode, "segue.position": session.position}
        with self._tracing.span("simulator.step", kind="client", attributes=step):
            context = {name.encode(): value.encode() for name, value in trace_headers().items()}
            return await self._client.post(path, body, headers | context)

    def _decode(self, answer: Answer, session: LiveSession) -> _Told:
        try:
            told = self._decoder.decode(answer.content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ServiceError(
                f"{answer.url}: not an answer of a recommender ({error}): {answer.excerpt}"
            ) from error
        if told.user != session.user:
            raise ServiceError(
                f"{answer.url}: answers for user {told.user}, asked for {session.user}"
            )
        return told


async def fetch_serving_version(client: PatientClient) -> str | None:
    """Fetch the model version that `latest` stands for in the recommender that answers.

    Returns:
        Its id; None if it serves no model yet.

    Raises:
        ServiceError: If the recommender is away for too long, or has no metrics.
    """
    metrics = (await client.get("/metrics")).content.decode()
    found = _SERVING.search(metrics)
    return found[1] if found else None
