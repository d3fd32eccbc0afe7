"""`run` and `replay` against services: whole commands."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.adapters.saved_runs import load_run
from simulator.cli import main
from tests.integration.simulator.background import serving
from tests.integration.simulator.services import FakeLaboratory, FakeRecommender

N_TRACKS = 500


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "small"
    sizes = ["--tracks", str(N_TRACKS), "--users", "100", "--seed", "7"]
    assert main(["world", "make", str(folder), *sizes]) == 0
    return folder


def write_config(folder: Path, world: Path, *, url: str, more: str = "") -> list[str]:
    path = folder / "simulator.yaml"
    services = "".join(f"{name}: {{url: '{url}'}}\n" for name in ("logger", "trainer"))
    path.write_text(f"world: {world}\nrecommender: {{url: '{url}'}}\n{services}{more}")
    return ["--config", str(path), "--episodes", "60"]


def make_laboratory() -> tuple[FakeRecommender, FakeLaboratory]:
    """Make one service that is recommender, logger and trainer."""
    return FakeRecommender(N_TRACKS), FakeLaboratory()


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_run_retrains_between_days_and_not_after_them(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recommender, laboratory = make_laboratory()
    with serving(recommender.make_server(beside=laboratory)) as url:
        words = write_config(tmp_path, world, url=url)
        run = ["run", "--days", "3", "--retrain", "--recipe", "session", "--json"]
        assert main([*words, *run]) == 0
    titles = [line["title"] for line in read_lines(capsys)]
    assert titles == ["day 1", "after day 1", "day 2", "after day 2", "day 3"]
    assert laboratory.orders == [{"recipe": "session"}] * 2


def test_a_training_that_fails_ends_the_run_after_the_day(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recommender, laboratory = make_laboratory()
    laboratory.outcome = {"status": "failed", "error": "too few playbacks"}
    with serving(recommender.make_server(beside=laboratory)) as url:
        words = write_config(tmp_path, world, url=url)
        assert main([*words, "run", "--days", "2", "--retrain", "--json"]) == 1
    shown = capsys.readouterr()
    assert [json.loads(line)["title"] for line in shown.out.splitlines()] == ["day 1"]
    assert "training failed: too few playbacks" in shown.err


def write_analysis(folder: Path, *, decided_at: int) -> str:
    """Write a command that calls the experiment decided at a certain look, and return settings."""
    script = folder / "analyse.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "looks = pathlib.Path(__file__).with_suffix('.log')\n"
        "looks.open('a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"decided = len(looks.read_text().splitlines()) >= {decided_at}\n"
        "print(json.dumps({'decision': {'reached': decided, 'reason': 'so it is'}}))\n"
    )
    command = ["{python}", str(script), "{experiment}", "{metric}", "{alpha}", "{since}"]
    return f"decision: {{command: {json.dumps(command)}}}\n"


def test_a_run_stops_once_its_experiment_is_decided(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recommender, laboratory = make_laboratory()
    with serving(recommender.make_server(beside=laboratory)) as url:
        more = write_analysis(tmp_path, decided_at=4)
        words = write_config(tmp_path, world, url=url, more=more)
        run = ["run", "--until", "CONTEXTUAL", "--peek", "25", "--days", "2", "--json"]
        assert main([*words, *run]) == 0
    shown = capsys.readouterr()
    first, last = map(json.loads, shown.out.splitlines())
    assert (first["n_sessions"], last["n_sessions"]) == (60, 25)
    assert "not decided after 25 of at most 120 sessions" in shown.err
    (first_look, *_) = (tmp_path / "analyse.log").read_text().splitlines()
    assert first_look.split()[:3] == ["CONTEXTUAL", "mean_time_per_session", "0.05"]
    assert "lag 0" in laboratory.done  # every event was stored before a look


def test_an_analysis_that_fails_is_named(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recommender, laboratory = make_laboratory()
    command = json.dumps(["{python}", "-c", "import sys; sys.exit('no such experiment')"])
    with serving(recommender.make_server(beside=laboratory)) as url:
        more = f"decision: {{command: {command}}}\n"
        words = write_config(tmp_path, world, url=url, more=more)
        assert main([*words, "run", "--until", "X", "--json"]) == 1
    shown = capsys.readouterr()
    assert "exited with 1: no such experiment" in shown.err
    assert json.loads(shown.out)["n_sessions"] == 60


def test_an_analysis_can_be_a_service(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recommender, laboratory = make_laboratory()
    with serving(recommender.make_server(beside=laboratory)) as url:
        more = f"decision: {{url: '{url}/decision/{{experiment}}?alpha={{alpha}}'}}\n"
        words = write_config(tmp_path, world, url=url, more=more)
        assert main([*words, "run", "--until", "AA", "--peek", "20", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["n_sessions"] == 20
    assert "AA: decided after 20 of at most 60 sessions" in shown.err
    assert "always valid" in shown.err
    assert laboratory.done[-1] == "decision AA 0.05"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run --recommender dummy --retrain", "--retrain takes --recommender remote"),
        ("run --recommender dummy --until AA", "--until takes --recommender remote"),
        ("run --retrain", "--retrain takes --days of two or more"),
        ("run --days 2 --recipe session", "--recipe takes --retrain"),
        ("run --arrivals fixed", "--arrivals takes --rate"),
        ("run --peek 5 --alpha 0.1", "--peek and --alpha take --until"),
        ("simulate --workers 2", "--workers takes --engine processes or ray"),
        ("simulate --engine processes --address a:1", "--address takes --engine ray"),
        ("simulate --table x.json", "--table takes --policy contextual"),
        ("simulate --policy random --replays", "--replays takes --policy sticky_artist"),
        ("replay x --policy random --concurrency 2", "--concurrency takes --url"),
        ("replay x --against y --replays", "--replays takes --policy sticky_artist"),
    ],
)
def test_an_option_that_nothing_would_read_is_refused(
    words: str, told: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "simulator.yaml"
    config.write_text(f"world: {world}\n")
    assert main(["--config", str(config), *words.split()]) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def save_run(config: list[str], folder: Path) -> None:
    assert main([*config, "run", "--json", "--seed", "3", "--save", str(folder)]) == 0


def test_the_same_treatment_replayed_changes_nothing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeRecommender(N_TRACKS)
    with serving(fake.make_server()) as url:
        save_run(write_config(tmp_path, world, url=url), tmp_path / "run")
    again = FakeRecommender(N_TRACKS)  # restarted
    with serving(again.make_server()) as url:
        words = ["replay", str(tmp_path / "run"), "--url", url, "--json"]
        assert main([*words, "--concurrency", "7", "--save", str(tmp_path / "again")]) == 0
    summary, compared = read_lines(capsys)
    assert compared["n_sessions"] == summary["n_sessions"] == 60
    assert compared["same"] == 1.0
    assert load_run(tmp_path / "again").sessions == load_run(tmp_path / "run").sessions


def test_another_treatment_is_compared_in_pairs(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeRecommender(N_TRACKS)
    with serving(fake.make_server()) as url:
        save_run(write_config(tmp_path, world, url=url), tmp_path / "run")
    sticky = ["replay", str(tmp_path / "run"), "--policy", "sticky_artist"]
    assert main([*sticky, "--json", "--save", str(tmp_path / "sticky")]) == 0
    _, compared = read_lines(capsys)
    before, after = load_run(tmp_path / "run").sessions, load_run(tmp_path / "sticky").sessions
    for one, other in zip(before, after, strict=True):
        assert (one.episode, one.user) == (other.episode, other.user)
        assert one.playbacks[0] == other.playbacks[0]
    effect = compared["difference"]
    assert isinstance(effect, dict)
    means = [sum(s.time for s in sessions) / 60 for sessions in (before, after)]
    assert effect["estimate"] == pytest.approx(means[1] - means[0])
    assert effect["lower"] < effect["estimate"] < effect["upper"]
    assert main(["replay", str(tmp_path / "run"), "--against", str(tmp_path / "sticky")]) == 0
    text = capsys.readouterr().out
    assert f"{effect['estimate']:+.3f}" in text
    assert f"{100 * effect['variance_reduction']:.1f}% less variance" in text


def test_one_treatment_can_be_replayed_alone(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeRecommender(N_TRACKS)
    fake.experiments = ("C", "T1")
    with serving(fake.make_server()) as url:
        save_run(write_config(tmp_path, world, url=url), tmp_path / "run")
    (summary,) = read_lines(capsys)
    parts = summary["treatments"]
    assert isinstance(parts, dict)
    words = ["replay", str(tmp_path / "run"), "--policy", "random", "--json"]
    assert main([*words, "--only", "SPLIT=T1"]) == 0
    (compared,) = read_lines(capsys)
    assert compared["n_sessions"] == parts["SPLIT T1"]["n_sessions"] < 60
    assert compared["mean_before"] == pytest.approx(parts["SPLIT T1"]["time"]["mean"])
    assert main([*words, "--only", "SPLIT=T9"]) == 1
    assert "there are: SPLIT=C, SPLIT=T1" in capsys.readouterr().err


def test_sessions_of_another_world_are_not_replayed(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert main(["world", "make", str(other), "--tracks", "300", "--users", "50"]) == 0
    simulate = ["simulate", "--sessions", "30", "--world"]
    for name, folder in (("here", world), ("there", other)):
        assert main([*simulate, str(folder), "--save", str(tmp_path / name)]) == 0
    capsys.readouterr()
    against = ["replay", str(tmp_path / "here"), "--against", str(tmp_path / "there")]
    assert main(against) == 1
    assert "not the same sessions: another checksums" in capsys.readouterr().err
    manifest = tmp_path / "there" / "run.json"
    manifest.write_text(manifest.read_text().replace('"tracks.npy": "', '"tracks.npy": "0'))
    assert main(["replay", str(tmp_path / "there"), "--policy", "random"]) == 1
    assert "the world that the run was played in is neither" in capsys.readouterr().err


def test_an_open_loop_tells_how_the_service_kept_up(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, world, url="http://127.0.0.1:1")
    words = ["run", "--recommender", "dummy", "--json"]
    assert main([*config, *words]) == 0
    assert main([*config, *words, "--rate", "200", "--arrivals", "fixed"]) == 0
    plain, paced = read_lines(capsys)
    told = paced.pop("open_loop")
    assert paced == plain
    assert isinstance(told, dict)
    assert told["due_per_s"] == 200
    assert told["starts"]["n"] == 60
    assert told["steps"]["n"] == round(plain["tracks"]["mean"] * 60) - 60  # type: ignore[index]


@pytest.mark.parametrize("style", ["text", "markdown"])
def test_summaries_can_be_read_by_people(
    style: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, world, url="http://127.0.0.1:1")
    run = ["run", "--recommender", "dummy", "--format", style, "--rate", "1000"]
    outputs = ["--picture", str(tmp_path / "r.png"), "--parquet", str(tmp_path / "r.parquet")]
    assert main([*config, *run, *outputs]) == 0
    out = capsys.readouterr().out
    assert "day 1: 60 sessions" in out
    assert "reward (time)" in out
    assert "first answer, from arrival" in out
    assert ("| per session | mean |" in out) == (style == "markdown")
    assert (tmp_path / "r.png").stat().st_size > 10_000
    assert (tmp_path / "r.parquet").stat().st_size > 1_000


@pytest.mark.parametrize("command", [["run", "--concurrency", "8"], ["multi", "--processes", "2"]])
def test_ctrl_c_closes_the_sessions_at_the_service(
    command: list[str], world: Path, tmp_path: Path
) -> None:
    fake = FakeRecommender(N_TRACKS)
    fake.delay_s = 0.005
    with serving(fake.make_server()) as url:
        config = write_config(tmp_path, world, url=url)
        words = [*config[:2], "--episodes", "100000", *command, "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "simulator", *words, "--save", str(tmp_path / "run")],
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
    assert fake.active == {}
    n_sessions = json.loads(out)["n_sessions"]
    assert n_sessions == len(load_run(tmp_path / "run").sessions) > 0
