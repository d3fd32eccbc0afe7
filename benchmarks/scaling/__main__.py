"""Claim: what a million sessions cost, and so what a hundred million listeners would.

python -m benchmarks.scaling [--sessions 3000] [--history 30000] [--tracks 50000]

Starts a local stack, logs a history, trains on it, lets listeners take part in the experiment over
HTTP, and charges what each process used (CPU seconds less those of rest, memory) to the sessions;
then the same to a hundred million listeners by the arithmetic that it prints. CPU seconds are of
this machine; other work on it makes them larger.
"""

import argparse
import os
import resource
import time
from dataclasses import dataclass

import httpx
from rich.console import Console

from benchmarks.scaling.machine import Usage, measure_usage, running_stack
from benchmarks.scaling.projection import Costs, print_projection
from benchmarks.scaling.storage import (
    count_events,
    measure_models,
    measure_open_sessions,
    measure_rows,
)
from deploy.commands import run_module
from deploy.demo import CONCURRENCY, RECIPE, SIMULATOR_CONFIG
from deploy.local.programs import Stack
from deploy.local.supervision import Supervisor
from deploy.services import train, wait_for_logger, wait_for_model

SETTLE_S, REST_S = 20, 20
TIMEOUT_S = 3600
SEED = 1


@dataclass(frozen=True)
class Phase:
    """A part of the benchmark: what the stack and the command beside it used."""

    usage: Usage
    command_cpu_s: float
    n_events: float


class Bench:
    """The stack, with what it uses at rest."""

    def __init__(self, stack: Stack) -> None:
        """Measure the rest."""
        self.stack = stack
        self.world = stack.state / "world"
        self.environment = dict(os.environ) | {
            "SEGUE_SIMULATOR_WORLD": str(self.world),
            "SEGUE_SIMULATOR_RECOMMENDER__URL": stack.settings.url("recommender"),
        }
        self.dsn = stack.settings.environment["SEGUE_POSTGRES_DSN"]
        time.sleep(SETTLE_S)
        before = measure_usage(stack)
        time.sleep(REST_S)
        after = measure_usage(stack)
        self.idle = {n: (after.cpu_s[n] - s) / REST_S for n, s in before.cpu_s.items()}

    def run(self, *arguments: str) -> Phase:
        """Run a command of Segue's and wait until all its events are rows."""
        n_before, before = count_events(self.dsn), measure_usage(self.stack)
        children, began = _children_cpu_s(), time.monotonic()
        log = self.stack.state / "logs" / "benchmark.log"
        run_module(arguments, log=log, environment=self.environment)
        command_cpu_s = _children_cpu_s() - children
        wait_for_logger(self.stack.settings.url("logger"), timeout_s=TIMEOUT_S, show=lambda _: None)
        usage = measure_usage(self.stack).since(
            before, idle=self.idle, elapsed_s=time.monotonic() - began
        )
        return Phase(usage, command_cpu_s, count_events(self.dsn) - n_before)

    def train(self) -> tuple[Usage, dict[str, float]]:
        """Train on the log; return what it used, and the version's metrics."""
        urls = self.stack.settings.url
        before, began = measure_usage(self.stack), time.monotonic()
        order = {"recipe": RECIPE}
        trained = train(urls("trainer"), timeout_s=TIMEOUT_S, show=lambda _: None, order=order)
        usage = measure_usage(self.stack).since(
            before, idle=self.idle, elapsed_s=time.monotonic() - began
        )
        wait_for_model(urls("recommender"), trained.version, timeout_s=60)
        model = httpx.get(f"{urls('trainer')}/models/{trained.version}", timeout=30).json()
        return usage, dict(model["metrics"]) | {"n_playbacks": float(model["n_playbacks"])}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def print_phase(title: str, phase: Phase, *, n_sessions: int, console: Console) -> None:
    """Print what each process used, per million sessions and events."""
    console.print(
        f"\n{title}: {n_sessions:,} sessions, {phase.n_events:,} events, "
        f"{phase.n_events / n_sessions:.2f} a session"
    )
    rows = phase.usage.cpu_s | {"simulator": phase.command_cpu_s}
    console.print(f"{'CPU seconds':14} {'measured':>9} {'/M sessions':>12} {'/M events':>10}")
    for name, cpu_s in rows.items():
        per_session, per_event = cpu_s / n_sessions * 1e6, cpu_s / phase.n_events * 1e6
        console.print(f"  {name:12} {cpu_s:9.1f} {per_session:12,.0f} {per_event:10,.0f}")


def measure(stack: Stack, options: argparse.Namespace, console: Console) -> None:
    """Measure everything, print it, and what follows from it."""
    bench = Bench(stack)
    console.print("\nAt rest, share of a CPU and memory:")
    memory = measure_usage(stack).memory
    for name, share in bench.idle.items():
        console.print(f"  {name:12} {share:8.2%} {memory[name] / 2**20:8,.0f} MiB")
    history = bench.run(
        *("simulator", "history", "--sessions", str(options.history), "--seed", str(SEED)),
        *("--logger", stack.settings.url("logger")),
    )
    print_phase("A history, in bulk", history, n_sessions=options.history, console=console)
    usage, metrics = bench.train()
    training_s, n_playbacks = usage.cpu_s["trainer"], metrics["n_playbacks"]
    console.print(
        f"\nTraining ({RECIPE}) on {n_playbacks:,.0f} playbacks: {training_s:.1f} s CPU, "
        f"{metrics['training_s']:.1f} s clock, {metrics['peak_memory_bytes'] / 2**30:.2f} GiB; "
        f"{training_s / n_playbacks * 1e6:,.0f} s CPU per million playbacks"
    )
    live = bench.run(
        *("simulator", "--episodes", str(options.sessions), "--config", SIMULATOR_CONFIG),
        *("run", "--days", "1", "--concurrency", str(CONCURRENCY), "--seed", str(SEED)),
    )
    print_phase("Live, over HTTP", live, n_sessions=options.sessions, console=console)
    memory = live.usage.memory
    held = ", ".join(f"{name} {size / 2**20:,.0f} MiB" for name, size in memory.items())
    console.print(f"  memory: {held}")
    rows = measure_rows(bench.dsn)
    Supervisor(stack).stop_program("logger")  # so that the stream can be weighed
    n_tracks = round(live.n_events / options.sessions)
    opened = measure_open_sessions(stack, n_sessions=300, n_tracks=n_tracks)
    console.print(
        f"\nRedis: {opened['session']:,.0f} B per open session of {n_tracks} tracks, "
        f"{opened['stream']:,.0f} B per event in the stream, "
        f"{opened['file']:,.0f} B of file per event, "
        f"{measure_models(stack) / 2**20:,.1f} MiB per model version\n"
        f"Postgres: {rows['row']:,.0f} B per event and {rows['indexes']:,.0f} B in indexes, "
        f"{rows['day']:,.0f} B per listener and day"
    )
    per_session = {name: s / options.sessions for name, s in live.usage.cpu_s.items()}
    print_projection(
        Costs(
            cpu_s=per_session,
            events=live.n_events / options.sessions,
            session_bytes=opened["session"],
            stream_bytes=opened["stream"],
            event_bytes=rows["row"] + rows["indexes"],
            day_bytes=rows["day"],
            training_cpu_s=training_s / n_playbacks,
        ),
        console,
    )


def main() -> None:
    """Run a stack, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=3_000, help="over HTTP")
    parser.add_argument("--history", type=int, default=30_000, help="sessions in bulk")
    parser.add_argument("--tracks", type=int, default=50_000)
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    with running_stack(n_tracks=options.tracks, console=console) as stack:
        measure(stack, options, console)


if __name__ == "__main__":
    main()
