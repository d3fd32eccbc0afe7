"""The live recommender, over botify's HTTP API."""

import re

import httpx
import msgspec

from shared.catalog import Catalog
from shared.events import Id
from simulator.adapters.patient_http import PatientClient, ServiceError, excerpt
from simulator.core.live_session import LiveSession
from simulator.results import Served

_SERVING = re.compile(r'^segue_model_info\{model_version="([^"]+)"\} 1', re.MULTILINE)


class _Answer(msgspec.Struct, gc=False):
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

    def __init__(self, client: PatientClient, catalog: Catalog, *, seed: int, run_id: str) -> None:
        """Speak to a service.

        Args:
            client: Open.
            catalog: That recommendations must come from.
            seed: Of the run.
            run_id: Tells two runs with the same seed apart.
        """
        self._client = client
        self._catalog = catalog
        self._seed = seed
        self._run_id = run_id
        self._decoder = msgspec.json.Decoder(_Answer)

    async def recommend(self, session: LiveSession) -> Served:
        """Report the latest playback and return what is recommended.

        Raises:
            ServiceError: If the service is away for too long, or its answer is no recommendation.
        """
        path = f"/next/{session.user}"
        response = await self._post(path, session)
        answer = self._decode(response, session)
        if answer.track is None:
            raise ServiceError(f"{response.url}: recommends no track: {excerpt(response)}")
        row = self._catalog.row_of.get(answer.track)
        if row is None:
            raise ServiceError(
                f"{response.url}: recommends track {answer.track}, which is not in the catalogue; "
                "does the service serve another world?"
            )
        return Served(
            row,
            answer.recommender,
            answer.model_version,
            answer.propensity,
            answer.fallback,
            answer.experiments,
        )

    async def finish(self, session: LiveSession) -> None:
        """Report the last playback.

        Raises:
            ServiceError: If the service is away for too long, or its answer is rubbish.
        """
        self._decode(await self._post(f"/last/{session.user}", session), session)

    async def _post(self, path: str, session: LiveSession) -> httpx.Response:
        track = int(self._catalog.track_ids[session.track])
        return await self._client.post(
            path,
            b'{"track":%d,"time":%r}' % (track, session.time),
            {
                "Content-Type": "application/json",
                "Idempotency-Key": (
                    f"{self._seed}:{session.episode}:{session.position}:{self._run_id}"
                ),
            },
        )

    def _decode(self, response: httpx.Response, session: LiveSession) -> _Answer:
        try:
            answer = self._decoder.decode(response.content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ServiceError(
                f"{response.url}: not an answer of a recommender ({error}): {excerpt(response)}"
            ) from error
        if answer.user != session.user:
            raise ServiceError(
                f"{response.url}: answers for user {answer.user}, asked for {session.user}"
            )
        return answer


async def fetch_serving_version(client: PatientClient) -> str | None:
    """Fetch the model version that `latest` stands for in the recommender that answers.

    Returns:
        Its id; None if it serves no model yet.

    Raises:
        ServiceError: If the recommender is away for too long, or has no metrics.
    """
    metrics = (await client.get("/metrics")).text
    found = _SERVING.search(metrics)
    return found[1] if found else None
