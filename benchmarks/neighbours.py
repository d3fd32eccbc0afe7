"""Claim: the exact neighbours of every track take seconds.

python -m benchmarks.neighbours [--tracks 50000] [--dim 100] [--k 100] [--threads 2]

Finds them as the trainer does, and as numpy does without thought, by a full sort of every row of
scores. The sort is timed on some rows, which the answers are compared on, and scaled to all.
"""

import argparse
import resource
import time

import numpy as np
import torch

from services.trainer.core.retrieval import find_neighbours

N_SORTED = 1000


def main() -> None:
    """Draw, find and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    context, target = rng.standard_normal((2, options.tracks, options.dim), dtype=np.float32)
    everything = np.ones(options.tracks, dtype=np.bool_)
    cpu, clock = time.process_time(), time.perf_counter()
    found = find_neighbours(context, target, anchors=everything, candidates=everything, k=options.k)
    ours = time.process_time() - cpu, time.perf_counter() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cpu, clock = time.process_time(), time.perf_counter()
    rows = np.arange(min(N_SORTED, options.tracks))
    scores = context[rows] @ target.T
    scores[rows, rows] = -np.inf
    expected = np.argsort(-scores, axis=1)[:, : options.k]
    scale = options.tracks / len(rows)
    plain = (time.process_time() - cpu) * scale, (time.perf_counter() - clock) * scale
    print(f"numpy argsort {plain[0]:7.1f} s CPU  {plain[1]:7.1f} s clock (scaled from {len(rows)})")
    print(f"trainer       {ours[0]:7.1f} s CPU  {ours[1]:7.1f} s clock, at most {peak:.2f} GiB")
    print(f"ratio         {plain[0] / ours[0]:7.1f}        {plain[1] / ours[1]:7.1f}")
    same = (found[rows] == expected).mean()
    print(f"the same neighbours in the same order: {same:.4%} (the rest are ties of float32)")


if __name__ == "__main__":
    main()
