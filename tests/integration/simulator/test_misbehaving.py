"""A recommender that misbehaves: said clearly, and nothing that was played is lost."""

import asyncio
import json
from pathlib import Path

import pytest

from simulator.adapters.saved_runs import load_run
from simulator.cli import main
from tests.integration.simulator.background import Fault, Misbehaving, in_background, make_answer

N_GOOD = 153  # the request after it is no `last`


def answer(body: bytes, **how: bytes) -> Fault:
    async def write(writer: asyncio.StreamWriter, user: int) -> None:
        writer.write(make_answer(body.replace(b"USER", b"%d" % user), **how))

    return write


async def hang(_: asyncio.StreamWriter, user: int) -> None:
    await asyncio.sleep(60)


async def close(_: asyncio.StreamWriter, user: int) -> None:
    """Answer nothing."""


async def close_within_the_body(writer: asyncio.StreamWriter, user: int) -> None:
    writer.write(make_answer(b'{"user":%d,"track":2}' % user)[:-5])


async def drip(writer: asyncio.StreamWriter, user: int) -> None:
    for byte in make_answer(b'{"user":%d,"track":2}' % user):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.1)


async def speak_something_else(writer: asyncio.StreamWriter, user: int) -> None:
    writer.write(b"+PONG\r\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "small"
    sizes = ["--tracks", "500", "--users", "100", "--seed", "7"]
    assert main(["world", "make", str(folder), *sizes]) == 0
    return folder


def play(world: Path, folder: Path, url: str) -> int:
    config = folder / "simulator.yaml"
    limits = "timeout_s: 0.3, patience_s: 0.5"
    config.write_text(f"world: {world}\nrecommender: {{url: '{url}', {limits}}}\n")
    words = ["run", "--concurrency", "1", "--json", "--save", str(folder / "run")]
    return main(["--config", str(config), "--episodes", "1000", *words])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (answer(b'{"user":USER}'), "recommends no track"),
        (answer(b'{"user":USER,"track":500}'), "track 500, which is not in the catalogue"),
        (answer(b'{"user":USER,"track":-1}'), "`$.track`"),
        (answer(b'{"user":USER,"track":"7"}'), "`$.track`"),
        (answer(b'{"user":USER,"track":1.5}'), "`$.track`"),
        (answer(b'{"user":USER,"track":1,"propensity":"big"}'), "`$.propensity`"),
        (answer(b'{"track":1}'), "missing required field `user`"),
        (answer(b'{"user":99999,"track":1}'), "answers for user 99999"),
        (answer(b""), "not an answer of a recommender"),
        (answer(b"boom", status=b"500 Internal Server Error"), "answered 500: boom"),
        (answer(b"<html>log in</html>", kind=b"text/html"), "<html>log in</html>"),
        (answer(b"", status=b"503 Service Unavailable"), "answered 503; gave up after 0.5 s"),
        (hang, "no answer within 0.3 s; gave up after 0.5 s"),
        (close, "gave up after 0.5 s"),
        (close_within_the_body, "gave up after 0.5 s"),
        (drip, "no answer within 0.3 s; gave up after 0.5 s"),
        (speak_something_else, "does not speak HTTP: Expected HTTP/"),
    ],
)
def test_a_fault_is_named_and_loses_nothing(
    world: Path,
    tmp_path: Path,
    fault: Fault,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = Misbehaving(fault, n_good=N_GOOD, n_tracks=500)
    with in_background(server):
        assert play(world, tmp_path, server.url) == 1
    shown = capsys.readouterr()
    (error,) = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert f"{server.url}/next/" in error or f"{server.url}/last/" in error
    assert said in error
    assert "Traceback" not in shown.err
    summary = json.loads(shown.out)
    assert "partial" in summary["title"]
    run = load_run(tmp_path / "run")
    assert run.manifest.finished_at is None
    assert len(run.sessions) == summary["n_sessions"] > 10
    n_played = sum(len(session.playbacks) for session in run.sessions)
    assert N_GOOD - 30 < n_played <= N_GOOD  # all but the session that met the fault


def test_one_bad_moment_is_outlived(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Recovering(Misbehaving):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await super()._serve(reader, writer)
            self._n_good = 10**9

    server = Recovering(close_within_the_body, n_good=N_GOOD, n_tracks=500)
    config = tmp_path / "simulator.yaml"
    with in_background(server):
        config.write_text(f"world: {world}\nrecommender: {{url: '{server.url}'}}\n")
        words = ["run", "--concurrency", "1", "--json"]
        assert main(["--config", str(config), "--episodes", "100", *words]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["n_sessions"] == 100
    assert "paused, trying again for 60 s" in shown.err
    assert "going on" in shown.err
