"""Claim: one history gives a model worth 25 and more a session; four more days, 110 and more.

python -m benchmarks.loop [--world-seeds 2 3] [--sessions 20000] [--judged 2000] [--workers 2]
    [--source FOLDER] [--small]

For some standard worlds, runs the loop in process: a history of 97,000 sessions of simple
recommenders, a training, and four times a day of `random` against the `session` recommender and a
training on all that is logged. Prints what each model is worth without exploration, in sessions
that are in no log: mean time per session with its 95% interval, median, sessions cut; beside it the
oracle. `--small` is a fifth of it: of a generated world's tracks and listeners, of the history
and of a day's sessions. `make loop ENGINE=inprocess` prints the days themselves.
"""

import argparse
from pathlib import Path

from benchmarks.standard_world import add_source, make_standard_world
from deploy.display import create_console
from deploy.loop.days import Loop, measure_all, tell
from deploy.loop.inprocess import InProcess
from deploy.loop.judging import Judge
from deploy.loop.plan import Plan
from deploy.loop.playing import make_theatre
from deploy.steps import run_steps


def run(plan: Plan, n_workers: int, source: Path | None) -> None:
    """Run one world's loop up to the last training, and print each model's worth."""
    world = make_standard_world(plan.world, source)
    theatre = make_theatre(plan, world, n_workers)
    loop = Loop(plan, InProcess(plan, world.catalog, theatre), Judge(plan, theatre))
    steps = loop.steps()[:-1]  # what the last model would log, nobody learns from
    if not run_steps(steps, create_console(stderr=True)):
        raise SystemExit(1)
    for day, visits in enumerate(loop.judged, start=1):
        measured = measure_all(visits)
        n_more = f"history and {day - 1} more days" if day > 1 else "one history"
        print(
            f"world {plan.seed}  {n_more:24} {tell(measured):>14}  median {measured.median:6.2f}  "
            f"{len(visits):,} sessions, {plan.count_cut(visits.lengths)} cut",
            flush=True,
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world-seeds", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=Plan.sessions)
    parser.add_argument("--small", action="store_true", help="a fifth of a generated world")
    parser.add_argument("--judged", type=int, default=Plan.judged)
    parser.add_argument("--workers", type=int, default=2)
    add_source(parser)
    arguments = parser.parse_args()
    if arguments.small and arguments.source:
        parser.error("--small is of a generated world: leave out --source")
    scale = 5 if arguments.small else 1
    for seed in arguments.world_seeds:
        plan = Plan(
            seed=seed,
            days=arguments.days,
            tracks=Plan.tracks // scale,
            users=Plan.users // scale,
            history=Plan.history // scale,
            sessions=arguments.sessions // scale,
            judged=arguments.judged,
        )
        run(plan, arguments.workers, arguments.source)


if __name__ == "__main__":
    main()
