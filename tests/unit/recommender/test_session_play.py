"""The session recommender against simulated listeners, one decision at a time."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from services.recommender.core.catalog_index import make_catalog_index
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models, make_served_model
from services.recommender.core.sessions import Report, UserState
from shared.catalog import IntArray
from shared.definitions import parse_experiments
from simulator.core.live_session import open_session
from simulator.core.world import World, WorldParameters, make_dynamics, make_world

WORLD = make_world(WorldParameters(n_tracks=1500, n_artists=400, n_users=60, seed=5))
DYNAMICS = make_dynamics(WORLD)
INDEX = make_catalog_index(WORLD.catalog)
N_SESSIONS = 60
MOST_PLAYS = 60


def nearest(world: World, n: int) -> IntArray:
    scores = world.embeddings @ world.embeddings.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)[:, :n].astype(np.int32)


def planted_arrays() -> dict[str, Any]:
    """Make a model of the true vectors, which knows of listeners only how they vary."""
    vectors = WORLD.embeddings
    d, n = vectors.shape[1], len(vectors)
    # The best linear guess of the interest from the first track, as a training would find it.
    near = DYNAMICS.nearest.find(np.arange(n, dtype=np.int32))
    first, interest = vectors[near].reshape(-1, d), np.repeat(vectors, near.shape[1], axis=0)
    design = np.hstack([first, np.ones((len(first), 1))])
    gram = design.T @ design + np.eye(d + 1)
    prior = np.linalg.solve(gram, design.T @ interest).T
    floats = {
        "track_embedding": vectors,
        "track_variance": np.full(n, 0.01),
        "context_embedding": np.hstack([vectors, np.ones((n, 1))]) @ prior.T,
        "session_covariance": np.cov((interest - design @ prior.T).T) + 1e-4 * np.eye(d),
        "interest_prior": np.stack([interest.mean(0), interest.var(0)]),
        "interest_embedding": np.empty((0, d)),
        "interest_variance": np.empty((0, d)),
        "user_listener": np.array([[1.1, 5.5, 0.15, 0.75, 12.0]]),
        "session_constants": np.array([0.8, 0.05]),
    }
    arrays = {name: value.astype(np.float32) for name, value in floats.items()}
    users = np.empty(0, np.int32)
    arrays |= {"user_ids": users, "interest_users": users}
    return arrays | {"neighbours": nearest(WORLD, 50)}


def play(recommender: str, models: Models, **parameters: Any) -> float:
    """Return the mean time of a session."""
    arms = [{"name": n, "recommender": recommender, "parameters": parameters} for n in ("C", "T1")]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    clock = Clock(now=lambda: datetime(2024, 5, 1, tzinfo=UTC), seconds=lambda: 0.0)
    experiments = parse_experiments(msgspec.yaml.encode(definition))
    decider = Decider(INDEX, experiments, seed=0, clock=clock)
    total = 0.0
    for episode in range(N_SESSIONS):
        session = open_session(DYNAMICS, 3, episode)
        state: UserState | None = None
        while not session.is_over and session.n_tracks < MOST_PLAYS:
            track = INDEX.track_ids[session.track]
            outcome = decider.decide(
                Report("next", session.user, track, session.time), state, models
            )
            assert outcome.event
            assert outcome.event.recommender == recommender
            assert outcome.event.recommendation is not None
            state = outcome.state
            session.listen(INDEX.row_of[outcome.event.recommendation])
        total += session.total_time
    return total / N_SESSIONS


def test_learning_in_the_session_beats_knowing_its_first_track() -> None:
    served = make_served_model(
        "planted", checksum=INDEX.checksum, arrays=planted_arrays(), catalog=INDEX
    )
    models = Models({"latest": served})
    contextual = play("contextual", models)
    session = play("session", models)
    assert session > 1.5 * contextual, (session, contextual)
