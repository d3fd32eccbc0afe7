"""A session that stays in this process: the decisions of the service, without their bytes."""

import numpy as np

from services.recommender.core.catalog_index import CatalogIndex
from services.recommender.core.draws import Draw
from services.recommender.core.models import Models
from services.recommender.core.policies import Policy, Recommendation
from services.recommender.core.recommenders import Context, Remembered


class OpenSession:
    """One listener's session; `Decider.decide` gives the same answers to the same reports."""

    def __init__(
        self, policy: Policy, models: Models, catalog: CatalogIndex, *, seed: int, user: int
    ) -> None:
        """Open it; the first playback that is reported opened the session."""
        self._policy = policy
        self._model = policy.find_model(models)
        self._no_model = models.why_not(policy.model_version)
        self._catalog = catalog
        self._seed = seed
        self._user = user
        self._first = -1
        self._n_played = 0
        self._played = np.empty(16, np.int32)
        self._times: list[float] = []
        self._heard: set[int] = set()
        self._memory: Remembered | bytes = b""

    def recommend(self, track: int, time: float) -> Recommendation:
        """Take a playback and recommend the next track.

        Args:
            track: Row just played.
            time: Fraction of it that was listened to, in hundredths.

        Raises:
            CatalogExhaustedError: If the session has heard everything.
        """
        if self._n_played == 0:
            self._first = track
        self._heard.add(track)
        if self._policy.remembers:
            self._append(track, time)
        first_id = self._catalog.track_ids[self._first]
        chosen = self._policy.recommend(
            Context(
                user=self._user,
                track=track,
                first=self._first,
                heard=self._heard,
                draw=Draw(self._seed, self._user, first_id, self._n_played),
                catalog=self._catalog,
                model=self._model,
                no_model=self._no_model,
                played=self._played[: len(self._times)],
                times=self._times,
                memory=self._memory,
            )
        )
        self._n_played += 1
        self._heard.add(chosen.choice.row)
        self._memory = chosen.choice.memory or b""
        return chosen

    def _append(self, track: int, time: float) -> None:
        if self._n_played == len(self._played):
            self._played = np.concatenate([self._played, np.empty_like(self._played)])
        self._played[self._n_played] = track
        self._times.append(time)
