"""`python -m deploy.audit`: look the locked versions up among known vulnerabilities.

pip-audit passes a package that the index does not know of as if it were sound. Here nothing that
was not looked up counts as looked up.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec

from deploy.commands import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 2
N_SHOWN = 3


class Vulnerability(msgspec.Struct):
    """What is known of one fault."""

    id: str
    fix_versions: list[str] = []


class Dependency(msgspec.Struct):
    """One locked version; `skip_reason` says why nothing is known of it."""

    name: str
    version: str = ""
    vulns: list[Vulnerability] = []
    skip_reason: str | None = None


class Report(msgspec.Struct):
    """What pip-audit answers."""

    dependencies: list[Dependency]


class Finished(msgspec.Struct):
    """What a command left."""

    output: str
    errors: str


def run_pip_audit() -> Finished:
    """Ask pip-audit about every locked version."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps"]
    options = ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
    finished = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    return Finished(finished.stdout, finished.stderr)


def judge(finished: Finished) -> tuple[int, list[str]]:
    """Return the exit status and what to say.

    Returns:
        `CLEAN` only if every version was looked up and nothing is known against any.
    """
    try:
        dependencies = msgspec.json.decode(finished.output, type=Report).dependencies
    except msgspec.MsgspecError:
        reason = (finished.errors.strip().splitlines() or ["it says nothing"])[-1]
        return UNKNOWN, [f"not audited: the vulnerability service cannot be asked: {reason}"]
    found = [_describe(each, fault) for each in dependencies for fault in each.vulns]
    skipped = [each for each in dependencies if each.skip_reason is not None]
    if skipped or not dependencies:
        n_all, reasons = len(dependencies), [str(each.skip_reason) for each in skipped]
        found.append(f"not audited: {len(skipped)} of {n_all} locked versions:")
        found += [f"  {reason}" for reason in reasons[:N_SHOWN]]
        found += ["  ..."] if len(reasons) > N_SHOWN else []
    if any(each.vulns for each in dependencies):
        return VULNERABLE, found
    if found:
        return UNKNOWN, found
    return CLEAN, [f"{len(dependencies)} locked versions: no known vulnerabilities"]


def main(arguments: Sequence[str], run: Callable[[], Finished] = run_pip_audit) -> int:
    """Audit; exit 0 if all is well, 1 if not, 2 if that cannot be known."""
    if arguments:
        print("usage: python -m deploy.audit", file=sys.stderr)
        return UNKNOWN
    status, lines = judge(run())
    print("\n".join(lines), file=sys.stderr if status else sys.stdout)
    return status


def _describe(dependency: Dependency, fault: Vulnerability) -> str:
    fixes = f"fixed in {', '.join(fault.fix_versions)}" if fault.fix_versions else "not fixed yet"
    return f"{dependency.name} {dependency.version}: {fault.id}, {fixes}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
