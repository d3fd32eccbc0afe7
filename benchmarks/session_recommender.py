"""Claim: a decision by the session's taste costs under 400 us of CPU, and bytes that are bounded.

python -m benchmarks.session_recommender [--tracks 50000] [--dim 32] [--plays 100]

Plays sessions through the decision that the service makes, without HTTP and Redis, on a synthetic
model: CPU microseconds per decision, state decoded and encoded, for `contextual` and for `session`
with some numbers of candidates, as a ratio to `contextual` in the same run; the dearest decisions
(those that draw candidates anew); the bytes that a session is between two requests; and the same
decisions in sessions that stay in the process, as `make loop ENGINE=inprocess` plays them.
"""

import argparse
import time
from typing import Any

import msgspec
import numpy as np

from benchmarks.synthetic import make_synthetic_arrays, make_synthetic_catalog
from services.recommender.adapters.stored_state import decode_state, encode_state
from services.recommender.core.catalog_index import CatalogIndex, make_catalog_index
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models, ServedModel, make_served_model
from services.recommender.core.sessions import Report
from shared.definitions import parse_experiments


def make_synthetic(n_tracks: int, d: int) -> tuple[CatalogIndex, ServedModel]:
    """Make a catalogue and a model of random numbers."""
    index = make_catalog_index(make_synthetic_catalog(n_tracks))
    arrays = make_synthetic_arrays(n_tracks, d)
    return index, make_served_model("m", checksum=index.checksum, arrays=arrays, catalog=index)


def make_decider(index: CatalogIndex, recommender: str, parameters: dict[str, Any]) -> Decider:
    """Serve everybody by one recommender."""
    arms = [{"name": n, "recommender": recommender, "parameters": parameters} for n in ("C", "T1")]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    experiments = parse_experiments(msgspec.yaml.encode(definition))
    return Decider(index, experiments, seed=0, clock=Clock())


def measure(
    decider: Decider, models: Models, *, n_sessions: int, n_plays: int
) -> tuple[list[float], int]:
    """Return CPU microseconds of every decision and the largest state in bytes."""
    costs, largest = [], 0
    rng = np.random.default_rng(1)
    for user in range(n_sessions):
        stored, track, listened = b"", int(rng.integers(0, 1000)), 1.0
        for _ in range(n_plays):
            started = time.process_time_ns()
            state = decode_state(user, stored)
            outcome = decider.decide(Report("next", user, track, listened), state, models)
            assert outcome.state
            assert outcome.event
            stored = encode_state(outcome.state, outcome.event)
            costs.append((time.process_time_ns() - started) / 1000)
            largest = max(largest, len(stored))
            assert outcome.event.recommendation is not None
            track, listened = outcome.event.recommendation, int(rng.integers(0, 101)) / 100
    return costs, largest


def measure_kept(decider: Decider, models: Models, *, n_sessions: int, n_plays: int) -> float:
    """Return CPU microseconds of a decision whose session stays in the process."""
    rng = np.random.default_rng(1)
    started = time.process_time()
    for user in range(n_sessions):
        session = decider.open_session(user, models)
        row, listened = int(rng.integers(0, 1000)), 1.0
        for _ in range(n_plays):
            row = session.recommend(row, listened).choice.row
            listened = int(rng.integers(0, 101)) / 100
    return (time.process_time() - started) / (n_sessions * n_plays) * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--plays", type=int, default=100, help="per session")
    parser.add_argument("--sessions", type=int, default=30)
    arguments = parser.parse_args()
    index, model = make_synthetic(arguments.tracks, arguments.dim)
    models = Models({"latest": model})
    variants: list[tuple[str, dict[str, Any]]] = [("contextual", {})]
    variants += [("session", {"candidates": n}) for n in (100, 300, 1000, 2000)]
    baseline = 0.0
    for name, parameters in variants:
        decider = make_decider(index, name, parameters)
        measure(decider, models, n_sessions=2, n_plays=20)
        sizes = {"n_sessions": arguments.sessions, "n_plays": arguments.plays}
        costs, largest = measure(decider, models, **sizes)
        kept = measure_kept(decider, models, **sizes)
        mean = float(np.mean(costs))
        baseline = baseline or mean
        print(
            f"{name:10} {parameters or ''!s:22} {mean:7.1f} us a decision, "
            f"{mean / baseline:5.2f} times contextual; median {np.median(costs):6.1f}, "
            f"p99 {np.percentile(costs, 99):7.1f}; state at most {largest:,} bytes; "
            f"kept {kept:6.1f} us",
            flush=True,
        )


if __name__ == "__main__":
    main()
