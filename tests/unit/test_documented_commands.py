"""Every command of the documentation can be run: its options, targets and addresses exist."""

import argparse
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deploy.local.settings import SERVICES
from deploy.reference import fetch_documents, write_pages
from tests.documentation import COMMANDS, NOT_EXECUTED, ROOT, Command, is_executed, plain

SERVICE_AT = {str(port): name for name, port in SERVICES.items()}


class Parsed(BaseException):
    """Raised in place of what a command would do."""


def select(pattern: str) -> list[Command]:
    """Select the commands that begin so, each once."""
    found = {c.text: c for c in COMMANDS if re.match(pattern, plain(c.text))}
    return list(found.values())


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 40
    assert sum(map(is_executed, COMMANDS)) > 20


@pytest.mark.parametrize("pattern", NOT_EXECUTED)
def test_what_is_not_executed_is_still_documented(pattern: str) -> None:
    assert any(re.fullmatch(pattern, plain(str(command))) for command in COMMANDS)


def test_every_command_is_of_a_kind_that_is_checked() -> None:
    programs = "make|python -m|curl|psql|cp|mkdir|sed|head|docker|kubectl|deploy/make-secrets.sh"
    kinds = rf"(\w+=\S+ )*({programs}) "
    unknown = [str(c) for c in COMMANDS if not re.match(kinds, plain(c.text) + " ")]
    assert unknown == []


@pytest.mark.parametrize("command", select(r"(\w+=\S+ )*make\b"), ids=str)
def test_make_knows_the_target(command: Command) -> None:
    *settings, _ = re.match(r"((?:\w+=\S+ )*)(.*)", command.text).groups()  # type: ignore[union-attr]
    environment = os.environ | dict(pair.split("=", 1) for pair in settings[0].split())
    words = shlex.split(command.text.removeprefix(settings[0]))
    # Without the variables of a `make` that runs these tests.
    environment = {k: v for k, v in environment.items() if not k.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(
        [words[0], "--dry-run", *words[1:], "STACK=local"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", select(r"(\w+=\S+ )*python -m"), ids=str)
def test_the_module_takes_these_arguments(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(plain(command.text))
    module, *arguments = words[words.index("-m") + 1 :]
    assert has_parser(module) or not arguments, f"{module} reads its arguments by itself"
    if not has_parser(module):
        return
    parse_args = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> NoReturn:
        parse_args(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, f"{module}.__main__", raising=False)
    with pytest.raises(Parsed):
        runpy.run_module(module, run_name="__main__")


def has_parser(module: str) -> bool:
    """Whether a module, or the package that it runs, parses its arguments by argparse."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    assert spec.origin is not None
    path = Path(spec.origin)
    sources = path.parent.rglob("*.py") if path.name == "__init__.py" else [path]
    return any("ArgumentParser(" in source.read_text() for source in sources)


@pytest.fixture(scope="module")
def documents() -> Mapping[str, Mapping[str, Any]]:
    """Return what each service says of its HTTP interface."""
    return fetch_documents()


@pytest.mark.parametrize("command", select("curl"), ids=str)
def test_a_service_answers_at_the_address(
    command: Command, documents: Mapping[str, Mapping[str, Any]]
) -> None:
    words = shlex.split(command.text)
    address = next(word for word in words if "localhost:" in word)
    port, path = re.fullmatch(r"(?:http://)?localhost:(\d+)(/[^?]*)?.*", address).groups()  # type: ignore[union-attr]
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    paths = documents[SERVICE_AT[port]]["paths"]
    templates = [
        template
        for template in paths
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path or "/")
    ]
    assert any(method.lower() in paths[template] for template in templates), (method, path)


def test_the_reference_is_what_the_services_say(tmp_path: Path) -> None:
    write_pages(tmp_path)
    written = {page.name: page.read_text() for page in tmp_path.iterdir()}
    kept = {page.name: page.read_text() for page in (ROOT / "docs/http").iterdir()}
    assert kept == written, "run `python -m deploy.reference`"
