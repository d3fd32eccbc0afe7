"""Options that say where a policy is played."""

import argparse
import functools
import os

from simulator.engines import play_in_processes, play_on_ray
from simulator.rollout import Play, simulate

ENGINES = ("inline", "processes", "ray")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default="inline",
        help="this process, several, or a Ray cluster; the result is the same",
    )
    group.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="default: as many as CPUs here"
    )
    group.add_argument(
        "--address", help="of a Ray cluster; default: RAY_ADDRESS, or one on this machine"
    )


def choose_engine(arguments: argparse.Namespace) -> Play:
    """Make the engine that the arguments name."""
    if arguments.engine == "processes":
        return functools.partial(play_in_processes, n_workers=arguments.workers)
    if arguments.engine == "ray":
        return functools.partial(
            play_on_ray, n_workers=arguments.workers, address=arguments.address
        )
    return simulate
