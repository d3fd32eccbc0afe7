"""Claim: all images but the trainer's stay under 350 MB.

python -m benchmarks.image_sizes [SERVICE ...] [--base-mb 125] [--base-compressed-mb 45]

Does, without a container engine, what each Dockerfile does: a fresh environment, the extra that it
names with the locked versions, the code that it copies, `prune.py`. Then it imports the service
from what is left. What python:3.11-slim adds is an assumption, not a measurement: the sizes that
its registry publishes, unpacked and compressed. The trainer has
torch, from the index that pip is set up with: one with CUDA makes it far larger still.
"""

import argparse
import glob
import gzip
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from deploy.commands import ROOT

SERVICES = ("recommender", "trainer", "logger", "dashboard", "simulator")
ENTRY = {name: f"services.{name}.__main__" for name in SERVICES} | {"simulator": "simulator.cli"}
COPY = re.compile(r"^COPY (?!--from)(.+) (\S+)$", re.MULTILINE)
LIMIT_MB = 350


class Counter:
    """A file that only counts what is written."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.n_bytes = 0

    def write(self, data: bytes) -> int:
        """Count."""
        self.n_bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Have nothing to do."""


def find_extras(dockerfile: str) -> str:
    """Return what a Dockerfile installs of ours, its arguments at their defaults."""
    (extras,) = re.findall(r"['\"]\.\[([^\]]+)\]['\"]", dockerfile)
    for name, value in re.findall(r"^ARG (\w+)=(\S+)", dockerfile, re.MULTILINE):
        extras = extras.replace(f"${name}", value)
    return str(extras)


def copy_context(dockerfile: str, folder: Path) -> None:
    """Copy into a folder what a Dockerfile's first stage copies into `/build`."""
    for sources, target in COPY.findall(dockerfile.rpartition("\nFROM ")[0]):
        if target.startswith("/"):
            continue
        for name in (match for each in sources.split() for match in glob.glob(each, root_dir=ROOT)):
            source, place = ROOT / name, folder / target
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place = place / source.name if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)


def build(service: str, folder: Path) -> Path:
    """Make the environment of a service's image; return its folder."""
    dockerfile = (ROOT / "deploy" / "docker" / f"{service}.Dockerfile").read_text()
    copy_context(dockerfile, folder)
    environment = folder / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    install = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    install += ["install", "--quiet", "--quiet", "--disable-pip-version-check"]
    install += ["--constraint", "constraints.txt", f".[{find_extras(dockerfile)}]"]
    subprocess.run(install, check=True, cwd=folder)
    prune = ROOT / "deploy" / "docker" / "prune.py"
    subprocess.run([sys.executable, prune, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-I", "-c", f"import {ENTRY[service]}"], check=True, cwd="/")
    return environment


def measure(folder: Path) -> tuple[float, float]:
    """Return the megabytes of a folder's files, as they are and as a layer is sent."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    counter = Counter()
    with (
        gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6) as packed,  # type: ignore[call-overload]
        tarfile.open(fileobj=packed, mode="w|") as layer,
    ):
        layer.add(folder, arcname="venv")
    return sum(path.stat().st_size for path in files) / 1e6, counter.n_bytes / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("services", nargs="*", metavar="SERVICE", default=SERVICES)
    parser.add_argument("--base-mb", type=float, default=125, help="of the base image, unpacked")
    parser.add_argument("--base-compressed-mb", type=float, default=45, help="likewise, as sent")
    options = parser.parse_args(arguments)
    row = "{:<12} {:>13} {:>10} {:>10}  {}"
    print(row.format("image", "installed MB", "image MB", "pull MB", f"under {LIMIT_MB} MB"))
    for service in options.services:
        with tempfile.TemporaryDirectory() as folder:
            installed, compressed = measure(build(service, Path(folder)))
        image, pull = installed + options.base_mb, compressed + options.base_compressed_mb
        verdict = "yes" if image < LIMIT_MB else "no"
        print(row.format(service, f"{installed:.0f}", f"{image:.0f}", f"{pull:.0f}", verdict))


if __name__ == "__main__":
    main()
