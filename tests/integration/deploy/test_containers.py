"""The images: what they install, run and say of themselves."""

import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.commands import ROOT
from deploy.local.settings import SERVICES

DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
PRUNE = ROOT / "deploy" / "docker" / "prune.py"


def read_final_stage(dockerfile: Path) -> str:
    return dockerfile.read_text().rpartition("\nFROM ")[2]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_ends_as_a_numeric_user_without_pip(dockerfile: Path) -> None:
    final = read_final_stage(dockerfile)
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", final, re.MULTILINE)
    assert "pip" not in final
    assert "apt-get" not in final
    assert "venv --without-pip" in dockerfile.read_text()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_says_what_it_is_and_how_to_stop_it(dockerfile: Path) -> None:
    final = read_final_stage(dockerfile)
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", final))
    assert labels == {"title", "description", "licenses", "version", "revision"}
    assert "\nSTOPSIGNAL SIGTERM\n" in final
    assert 'CMD ["python", "-m", ' in final  # no shell stands between the signal and the service


def test_every_image_is_built_on_a_pinned_minor_version() -> None:
    images = [
        image
        for dockerfile in DOCKERFILES
        for image in re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE)
    ]
    assert all(re.search(r":\d+\.\d+", image) for image in images), images


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_what_an_image_copies_exists(dockerfile: Path) -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE)
    for source in " ".join(copied).split():
        assert list(ROOT.glob(source)), source


def find_modules() -> set[str]:
    commands = [
        json.loads(line[line.index("[") :])
        for dockerfile in DOCKERFILES
        for line in dockerfile.read_text().splitlines()
        if line.lstrip().startswith("CMD [")
    ]
    return {command[2] for command in commands if command[:2] == ["python", "-m"]}


def test_the_modules_that_images_run_exist() -> None:
    modules = find_modules()
    assert {"shared.healthcheck", *(f"services.{name}" for name in SERVICES)} <= modules
    for module in modules:
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        if spec.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{module}.__main__") is not None, module


class Health(http.server.BaseHTTPRequestHandler):
    """Answers `/health/ready` with success and anything else with 503."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/ready" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def health_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "status"), [("/health/ready", 0), ("/elsewhere", 1)])
def test_the_health_check_of_the_images_tells_ready_from_not_ready(
    health_url: str, path: str, status: int
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "shared.healthcheck", health_url + path],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert result.returncode == status


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_health_check_asks_the_service_s_own_port(name: str) -> None:
    text = (ROOT / "deploy" / "docker" / f"{name}.Dockerfile").read_text()
    port = SERVICES[name]
    assert f'"http://127.0.0.1:{port}/health/ready"' in text
    assert f"EXPOSE {port}\n" in text


def test_pruning_takes_tests_and_sources_and_leaves_what_is_imported(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "package"
    gone = ["tests/test_it.py", "core/tests/data/big.npy", "fast.c", "include/fast.h", "fast.pyx"]
    left = ["__init__.py", "fast.so", "tests.py", "testing/__init__.py", "core/__init__.py"]
    for name in [*gone, *left]:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    subprocess.run([sys.executable, PRUNE, tmp_path], check=True)
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert files == set(left)


def test_the_simulators_image_needs_no_web_framework() -> None:
    # Its extra does not bring one: what both sides of a request share must not import it.
    code = (
        "import sys, simulator.cli, deploy.retrain, deploy.world; print('fastapi' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout == "False\n"
