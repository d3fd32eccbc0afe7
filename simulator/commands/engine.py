"""Options that say where a policy is played."""

import argparse
import functools
import os

from simulator.commands.options import positive, refuse_idle
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
        help="this process (inline), several, or a Ray cluster; the result is the same",
    )
    group.add_argument(
        "--workers", type=positive, metavar="N", help="of the engine (as many as CPUs here)"
    )
    group.add_argument("--address", help="of a Ray cluster (RAY_ADDRESS, or one on this machine)")


def choose_engine(arguments: argparse.Namespace) -> Play:
    """Make the engine that the arguments name.

    Raises:
        UsageError: If they say of an engine what it has not.
    """
    is_ray = arguments.engine == "ray"
    refuse_idle(
        arguments,
        "workers",
        unless="--engine processes or ray",
        is_met=arguments.engine != "inline",
    )
    refuse_idle(arguments, "address", unless="--engine ray", is_met=is_ray)
    n_workers = arguments.workers or os.cpu_count() or 1
    if is_ray:
        return functools.partial(play_on_ray, n_workers=n_workers, address=arguments.address)
    if arguments.engine == "processes":
        return functools.partial(play_in_processes, n_workers=n_workers)
    return simulate
