"""`python -m analysis`: what an experiment did, or which experiments there are."""

import argparse
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from analysis.commands import aa, export, import_log, off_policy, plan, results
from analysis.commands.options import WRONG_USAGE, fail
from shared.settings import describe_invalid_settings

COMMANDS = {
    "results": results,
    "plan": plan,
    "aa": aa,
    "off-policy": off_policy,
    "export": export,
    "import": import_log,
}
DEFAULT = "results"  # `python -m analysis NAME` is `python -m analysis results NAME`


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand and return its exit code."""
    words = list(arguments)
    is_help = words[:1] in (["-h"], ["--help"])
    if not is_help and words[:1] not in [[name] for name in COMMANDS]:
        words.insert(0, DEFAULT)
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Analyse the experiments that the log holds. "
        "Without a command: results, so that `python -m analysis EXPERIMENT` shows an experiment.",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").strip()
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    options = parser.parse_args(words)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except ValidationError as error:
        return fail(describe_invalid_settings(error), code=WRONG_USAGE)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
