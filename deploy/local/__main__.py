"""`python -m deploy.local COMMAND`: run Segue as processes on this machine.

Exit status: 0 done; 1 failed; 2 wrong usage or settings; 3 (of `status`) the stack is not running.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from pydantic import ValidationError
from rich.console import Console

from deploy.demo import demo_steps
from deploy.display import create_console, format_duration, make_table
from deploy.errors import DeployError
from deploy.local.programs import Stack
from deploy.local.segue import create_demo_settings, create_stack
from deploy.local.settings import SettingsError, parse_settings, read_environment
from deploy.local.stack import (
    ProgramStatus,
    clean,
    down,
    fetch_status,
    has_changed_settings,
    up,
)
from deploy.logs import show_logs
from deploy.steps import Step, run_steps
from shared.settings import describe_invalid_settings

DONE, FAILED, USAGE, NOT_RUNNING, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str]) -> int:
    """Run one command on the stack that the environment describes."""
    console = create_console()
    options = _create_parser().parse_args(arguments)
    try:
        stack = create_stack(parse_settings(read_environment()), console)
        return int(COMMANDS[options.command](stack, console, options))
    except ValidationError as error:
        return _refuse(describe_invalid_settings(error), USAGE)
    except SettingsError as error:
        return _refuse(str(error), USAGE)
    except (DeployError, OSError) as error:  # a folder that cannot be written, say
        return _refuse(str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def run_up(stack: Stack, console: Console, _: argparse.Namespace) -> int:
    """Start the stack and list where it is."""
    up(stack, console)
    show_addresses(stack, console)
    return DONE


def start(stack: Stack, console: Console) -> str:
    """Start the stack, as the first step of a demonstration."""
    up(stack, console)
    return ""


def run_demo(stack: Stack, console: Console, _: argparse.Namespace) -> int:
    """Run the whole loop: stack, history, training, live experiment, result."""
    settings = create_demo_settings(stack.settings)
    first = Step("Start the stack", lambda _: start(stack, console))
    if not run_steps([first, *demo_steps(settings, stack.settings.environment)], console):
        console.print(f"All logs are in {stack.state / 'logs'}.")
        return FAILED
    show_addresses(stack, console)
    return DONE


def run_down(stack: Stack, console: Console, _: argparse.Namespace) -> int:
    """Stop the stack."""
    down(stack, console)
    return DONE


def run_clean(stack: Stack, console: Console, _: argparse.Namespace) -> int:
    """Stop the stack and delete its data."""
    clean(stack, console)
    return DONE


def run_ps(stack: Stack, console: Console, _: argparse.Namespace) -> int:
    """List the programs."""
    rows = [_describe(status, time.time()) for status in fetch_status(stack)]
    console.print(make_table(["service", "state", "pid", "uptime", "port"], rows))
    if has_changed_settings(stack):
        console.print("The settings have changed since: `make up` restarts the stack with them.")
    return DONE


def run_status(stack: Stack, console: Console, _: argparse.Namespace) -> int:
    """Say in one line, and by the exit status, whether the stack is ready."""
    statuses = fetch_status(stack)
    if all(status.word == "stopped" for status in statuses):
        console.print("stopped")
        return NOT_RUNNING
    missing = [f"{each.program.name} ({each.word})" for each in statuses if not each.is_ready]
    console.print(f"not ready: {', '.join(missing)}" if missing else "ready")
    return FAILED if missing else DONE


def run_logs(stack: Stack, _: Console, options: argparse.Namespace) -> int:
    """Show the ends of the log files."""
    names = [program.name for program in stack.programs]
    if options.service and options.service not in names:
        known = ", ".join(names)
        raise SettingsError(f"no service is called {options.service!r}; there are {known}")
    paths = {name: stack.log(name) for name in ([options.service] if options.service else names)}
    show_logs(paths, n_lines=options.lines, follow=options.follow, write=_print_flushed)
    return DONE


# What is worth a first look, by program; {} is its port.
ADDRESSES = {
    "redis": ("redis://127.0.0.1:{}", ""),
    "postgres": ("postgresql://postgres@127.0.0.1:{}/segue", "psql takes this address"),
    "logger": ("http://127.0.0.1:{}", "/lag /dead-letters /docs /metrics"),
    "recommender": ("http://127.0.0.1:{}", "/track/12 /docs /metrics"),
    "trainer": ("http://127.0.0.1:{}", "/models /train /docs /metrics"),
    "dashboard": ("http://127.0.0.1:{}", "results, models, live: open it in a browser"),
}


def show_addresses(stack: Stack, console: Console) -> None:
    """List where each program is reached, and what to look at there."""
    rows = []
    for each in stack.programs:
        address, look = ADDRESSES.get(each.name, ("http://127.0.0.1:{}", ""))
        rows.append((each.name, address.format(each.port), look))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, address, look in rows:
        line = f"{name:<{widths[0]}}  {address:<{widths[1]}}  {look}".rstrip()
        console.print(line, markup=False, soft_wrap=True)
    console.print("Stop it with `make down`; its logs: `make logs`.")


COMMANDS = {
    "demo": run_demo,
    "up": run_up,
    "down": run_down,
    "ps": run_ps,
    "status": run_status,
    "logs": run_logs,
    "clean": run_clean,
}


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        summary = (function.__doc__ or "").strip()
        command = commands.add_parser(name, help=summary, description=summary)
        if name == "logs":
            command.add_argument("service", nargs="?", help="one service's log, not all")
            command.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C")
            command.add_argument("-n", "--lines", type=int, default=20, help="of each log (20)")
    return parser


def _describe(status: ProgramStatus, now: float) -> Sequence[str]:
    state = status.state
    pid = state.pid if state else None
    uptime = format_duration(now - state.started_at) if state and pid else ""
    return status.program.name, status.word, str(pid or ""), uptime, str(status.program.port)


def _refuse(message: str, status: int) -> int:
    console = create_console(stderr=True)
    console.print("[bold red]error:[/] ", end="")
    console.print(message, markup=False)
    return status


def _print_flushed(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
