"""The command line, from words to exit code."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator.cli import main
from simulator.settings import Settings, SettingsError, load_settings
from tests.conftest import free_port


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "small"
    words = ["--tracks", "2000", "--users", "200", "--seed", "7"]
    assert main(["world", "make", str(folder), *words]) == 0
    return folder


@pytest.fixture
def config(world: Path, tmp_path: Path) -> Path:
    path = tmp_path / "simulator.yaml"
    path.write_text(
        f"world: {world}\nrecommender: {{url: 'http://127.0.0.1:{free_port()}', patience_s: 0.1}}\n"
    )
    return path


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_single_run_and_multi_play_the_same_days(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--recommender", "dummy", "--seed", "5", "--days", "2", "--json"]
    before = ["--episodes", "100", "--config", str(config)]
    assert main([*before, "single", *common]) == 0
    single = read_lines(capsys)
    assert [line["title"] for line in single] == ["day 1", "day 2"]
    assert single[0]["time"] != single[1]["time"]
    assert main([*before, "run", "--concurrency", "64", *common]) == 0
    assert read_lines(capsys) == single
    assert main(["multi", "--processes", "2", *common, *before]) == 0  # options after, too
    assert read_lines(capsys) == single


def test_the_dummy_is_the_random_policy(
    config: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(config), "--episodes", "100", "single", "--recommender", "dummy"]
    assert main([*words, "--seed", "5", "--json"]) == 0
    words = ["simulate", "--world", str(world), "--sessions", "100", "--seed", "5", "--json"]
    assert main(words) == 0
    live, batch = read_lines(capsys)
    assert live["time"] == batch["time"]
    assert live["tracks"] == batch["tracks"]


def test_a_day_without_a_service_fails_and_says_so(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(config), "--episodes", "5", "run"]) == 1
    shown = capsys.readouterr()
    assert "gave up after 0.1 s" in shown.err
    assert "http://127.0.0.1" in shown.err
    assert "partial: 0 of 5" in shown.out


def test_a_person_can_recommend_at_the_console(config: Path) -> None:
    words = ["--config", str(config), "--episodes", "1", "single", "--recommender", "console"]
    typed = "?\nthe\nnothing like this\n9999\n" + "".join(f"{track}\n" for track in range(500))
    result = subprocess.run(
        [sys.executable, "-m", "simulator", *words],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "starts a session" in result.stdout
    assert "0 tracks match" in result.stdout
    assert "no track 9999" in result.stdout
    assert "The listener leaves after" in result.stdout
    assert "day 1: 1 sessions" in result.stdout


def test_the_console_ends_with_its_input(config: Path) -> None:
    words = ["--config", str(config), "--episodes", "3", "single", "--recommender", "console"]
    result = subprocess.run(
        [sys.executable, "-m", "simulator", *words],
        input="1\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 130
    assert "partial: 0 of 3" in result.stdout


@pytest.mark.parametrize("policy", ["top_pop", "contextual", "sticky_artist"])
def test_policies_play_in_process(
    world: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", "--world", str(world), "--policy", policy, "--sessions", "300", "--json"]
    assert main(words) == 0
    (line,) = read_lines(capsys)
    assert line["title"] == policy
    assert line["n_sessions"] == 300


def test_a_table_of_recommendations_can_be_played(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "tracks_with_recs.json"
    table.write_text(
        "".join(
            json.dumps({"track": t, "recommendations": [(t + 1) % 2000, (t + 2) % 2000]}) + "\n"
            for t in range(2000)
        )
    )
    words = ["simulate", "--world", str(world), "--policy", "contextual", "--table", str(table)]
    assert main([*words, "--sessions", "50"]) == 0
    table.write_text('{"track": 1, "recommendations": [2000]}\n')
    assert main([*words, "--sessions", "50"]) == 1
    assert "line 1: names a track outside the catalogue" in capsys.readouterr().err


def test_check_passes_a_standard_world_and_fails_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "world"
    assert main(["world", "make", str(folder), "--tracks", "20000", "--users", "5000"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok"
    assert main(["world", "check", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok"
    (folder / "users.json").write_text("")
    assert main(["world", "check", str(folder)]) == 1
    assert "users.json: is not the file" in capsys.readouterr().err


def test_check_fails_a_world_whose_listeners_love_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    assert main(["world", "make", str(source), "--tracks", "2000", "--users", "500"]) == 0
    embeddings = np.load(source / "tracks.npy")
    np.save(source / "tracks.npy", embeddings * 2)
    world = tmp_path / "world"
    assert main(["world", "import", str(source), str(world)]) == 0  # made, and told
    assert "fault: random gives" in capsys.readouterr().out
    assert main(["world", "check", str(world)]) == 1


def test_a_world_goes_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_SIMULATOR_WORLD", str(tmp_path / "mine"))
    assert main(["world", "make", "--tracks", "500", "--users", "50"]) == 0
    assert main(["world", "make", "--tracks", "500", "--users", "51"]) == 1
    assert "mine: holds another world" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--episodes 0 single", "argument --episodes: 0 is not positive"),
        ("simulate --sessions -1", "simulate: error: argument --sessions: -1 is not positive"),
        ("--episodes 5 simulate", "--episodes is of single, run, multi, not of simulate"),
        ("history --day soon", "argument --day: 'soon' is no day as 2026-03-10"),
        ("history --logger localhost", "'localhost' does not begin with http://"),
        ("replay run --url localhost", "'localhost' does not begin with http://"),
    ],
)
def test_impossible_words_are_refused(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_more_artists_than_tracks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", "make", "nowhere", "--tracks", "5", "--artists", "6"]) == 1
    assert "artists: 6 do not fit into 5 tracks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("wrld: x", "wrld: unknown key"),
        ("listener: {gamma: 1}", "listener.gamma: unknown key"),
        ("recommender: {timeout_s: 0}", "recommender.timeout_s: "),
        ("recommender: {url: localhost}", "recommender.url: "),
        ("- a list", "not a mapping"),
        ("a: [", "simulator.yaml: "),
    ],
)
def test_bad_settings_name_the_key(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=fault) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)


def test_the_default_config_says_what_the_defaults_are() -> None:
    path = Path(__file__).parents[3] / "deploy" / "simulator.yaml"
    assert load_settings(path) == Settings()


def test_the_environment_overrides_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_SIMULATOR_RECOMMENDER__URL", "http://elsewhere:1")
    settings = load_settings(config)
    assert settings.recommender.url == "http://elsewhere:1"
    assert settings.recommender.patience_s == 0.1


@pytest.mark.parametrize("command", [["run", "--concurrency", "8"], ["multi", "--processes", "2"]])
def test_ctrl_c_prints_what_was_played(config: Path, command: list[str]) -> None:
    words = ["--config", str(config), "--episodes", "1000000", *command, "--recommender", "dummy"]
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        process.stderr.readline()  # the first line of progress: episodes are being played
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    (line,) = map(json.loads, out.splitlines())
    assert "partial" in line["title"]
    assert line["n_sessions"] > 0


def test_at_a_terminal_a_person_ends_the_days(config: Path) -> None:
    words = ["--config", str(config), "--episodes", "5", "single", "--recommender", "dummy"]
    ours, theirs = pty.openpty()
    os.write(ours, b"y\nn\n")
    result = subprocess.run(
        [sys.executable, "-m", "simulator", *words, "--json"],
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("n_sessions") == 2
    assert "Day 2 is over. Continue? [y/n]" in result.stdout


def test_at_a_terminal_nothing_is_drawn_over_what_a_person_types(config: Path) -> None:
    words = ["--config", str(config), "--episodes", "1", "single", "--recommender", "console"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", *words, "--days", "1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with process:
        try:
            while b"recommend> " not in shown:
                shown += os.read(ours, 4096)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # the terminal's end
                while True:
                    if not select.select([ours], [], [], 5)[0]:
                        # It came between the prompt and the wait for an answer: press again.
                        process.send_signal(signal.SIGINT)
                        continue
                    if not (part := os.read(ours, 4096)):
                        break
                    shown += part
            code = process.wait(30)
        finally:
            process.kill()
    os.close(ours)
    assert code == 130
    assert b"starts a session" in shown
    assert b"partial: 0 of 1" in shown
    assert b"Traceback" not in shown
    assert b"never retrieved" not in shown
    assert b"0/1" not in shown  # no bar


def test_without_a_terminal_there_is_one_day(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(config), "--episodes", "5", "single", "--recommender", "dummy"]
    assert main([*words, "--json"]) == 0
    assert len(read_lines(capsys)) == 1
