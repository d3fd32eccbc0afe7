"""Saved runs, tables of playbacks, pictures: written, read, refused."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shared.extras import MissingExtraError, import_extra
from simulator.adapters.pictures import Curve, PictureError, draw_rewards
from simulator.adapters.playback_table import PlaybackTable, TableFileError
from simulator.adapters.saved_runs import RunFolder, RunManifest, SavedRunError, load_run
from simulator.core.listeners import ListenerDefaults
from simulator.core.policies import Random, StickyArtist
from simulator.core.world import make_dynamics
from simulator.live import LocalRandom, Watch, play_episodes
from simulator.results import Result
from simulator.rollout import simulate
from simulator.saved_session import SavedPlayback, SavedSession, save_batch, save_result
from tests.unit.simulator.worlds import make_small_world

WORLD = make_small_world()
DYNAMICS = make_dynamics(WORLD)
MANIFEST = RunManifest(
    recommender="random",
    seed=1,
    world="world",
    checksums={"tracks.json": "0"},
    listener=ListenerDefaults(),
    started_at=datetime(2025, 3, 9, tzinfo=UTC),
)


def simulate_sticky(n_episodes: int) -> list[SavedSession]:
    policy = StickyArtist(DYNAMICS.artist_rows)
    batches = simulate(DYNAMICS, policy, seed=1, episodes=np.arange(n_episodes))
    return [session for batch in batches for session in save_batch(batch, WORLD.catalog)]


def save(folder: Path, sessions: list[SavedSession], *, finish: bool = True) -> Path:
    with RunFolder(folder, MANIFEST) as run:
        for session in sessions:
            run.write(session)
        if finish:
            run.finish(datetime(2025, 3, 10, tzinfo=UTC))
    return folder


def test_live_and_in_process_keep_the_same_sessions() -> None:
    live: list[Result] = []
    asyncio.run(
        play_episodes(
            DYNAMICS,
            LocalRandom(DYNAMICS.n_tracks),
            seed=1,
            episodes=range(40),
            concurrency=8,
            watch=Watch(live.append, records=True),
        )
    )
    kept = [save_result(result, WORLD.catalog, day=1) for result in live]
    (batch,) = simulate(DYNAMICS, Random(DYNAMICS.n_tracks), seed=1, episodes=np.arange(40))
    assert sorted(kept, key=lambda s: s.episode) == list(save_batch(batch, WORLD.catalog))


def test_a_saved_run_is_read_as_it_was_played(tmp_path: Path) -> None:
    sessions = simulate_sticky(50)
    assert any(p.fallback == "sticky_artist:no_candidates" for s in sessions for p in s.playbacks)
    run = load_run(save(tmp_path / "run", sessions[::-1]))
    assert run.sessions == tuple(sessions)
    assert (run.manifest.n_sessions, run.is_cut) == (50, False)


def test_a_session_is_on_disk_before_the_run_ends(tmp_path: Path) -> None:
    sessions = simulate_sticky(3)
    with RunFolder(tmp_path, MANIFEST) as run:
        run.write(sessions[0])
        assert load_run(tmp_path).sessions == (sessions[0],)
        run.write(sessions[1])
    assert load_run(tmp_path).manifest.finished_at is None


def test_a_line_that_was_cut_is_left_out_and_said(tmp_path: Path) -> None:
    save(tmp_path, simulate_sticky(3), finish=False)
    content = (tmp_path / "sessions.jsonl").read_bytes()
    (tmp_path / "sessions.jsonl").write_bytes(content[:-20])
    run = load_run(tmp_path)
    assert (len(run.sessions), run.is_cut) == (2, True)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("run.json", b"{", r"run\.json: "),
        ("run.json", b'{"schema": 2}', r"run\.json: "),
        ("sessions.jsonl", b"", r"sessions\.jsonl: no sessions"),
        ("sessions.jsonl", b'{"episode": 1}\n', r"sessions\.jsonl: line 1: .*`user`"),
        (
            "sessions.jsonl",
            b'{"episode":1,"user":1,"day":1,"playbacks":[{"track":1,"time":1.5}]}\n',
            r"sessions\.jsonl: line 1: .*time",
        ),
        (
            "sessions.jsonl",
            b'{"episode":1,"user":1,"day":1,"playbacks":[{"track":1,"time":1.0}]}\n' * 2,
            "an episode repeats",
        ),
        (
            "sessions.jsonl",
            b'{"episode":1,"user":1,"day":1,"playbacks":[{"track":1,"time":1.0}]}\n',
            r"has 1 sessions, run\.json says 3",
        ),
    ],
)
def test_a_damaged_run_is_refused(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    save(tmp_path, simulate_sticky(3))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SavedRunError, match=fault):
        load_run(tmp_path)


def test_an_absent_run_and_a_taken_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SavedRunError, match=r"run\.json: No such file"):
        load_run(tmp_path / "nowhere")
    save(tmp_path / "run", simulate_sticky(1))
    with pytest.raises(SavedRunError, match="there is a run already"):
        RunFolder(tmp_path / "run", MANIFEST)
    (tmp_path / "file").write_text("")
    with pytest.raises(SavedRunError, match="run: Not a directory"):
        RunFolder(tmp_path / "file" / "run", MANIFEST)


def test_a_table_has_a_row_per_playback(tmp_path: Path) -> None:
    sessions = simulate_sticky(30)
    told = SavedSession(
        episode=99,
        user=7,
        day=2,
        playbacks=(
            SavedPlayback(5, 1.0),
            SavedPlayback(6, 0.25, "contextual", "m-1", 0.5, "why"),
        ),
        experiments={"CONTEXTUAL": "T1"},
    )
    path = tmp_path / "new" / "playbacks.parquet"
    with PlaybackTable(path) as table:
        for session in [*sessions, told]:
            table.write(session)
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == sum(len(session.playbacks) for session in sessions) + 2
    assert sum(row["time"] for row in rows) == pytest.approx(sum(s.time for s in [*sessions, told]))
    assert rows[0]["recommender"] is None
    assert rows[-1] == {
        **{"day": 2, "episode": 99, "user": 7, "position": 1, "track": 6, "time": 0.25},
        **{"recommender": "contextual", "model_version": "m-1", "propensity": 0.5},
        **{"fallback": "why", "experiments": [("CONTEXTUAL", "T1")]},
    }


def test_a_table_of_a_run_that_failed_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "playbacks.parquet"
    (session,) = simulate_sticky(1)

    def play() -> None:
        with PlaybackTable(path) as table:
            table.write(session)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play()
    assert pq.read_table(path).num_rows == len(session.playbacks)


def test_a_table_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableFileError, match=str(tmp_path)):
        PlaybackTable(tmp_path)


CURVES = [
    Curve(day, name, np.random.default_rng(day).exponential(scale, 300) + 1)
    for day in (1, 2)
    for name, scale in (("C", 1.0), ("T1", 3.0))
]


def test_a_picture_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw_rewards(tmp_path / name, CURVES, title="Rewards")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert text.count("day 2") > 0
    assert text.count("T1: mean") > 0
    draw_rewards(tmp_path / "c.png", CURVES, title="Rewards")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_one_session_can_be_drawn(tmp_path: Path) -> None:
    draw_rewards(tmp_path / "one.png", [Curve(1, "C", np.array([1.0]))], title="Rewards")
    assert (tmp_path / "one.png").exists()


def test_a_picture_that_cannot_be_drawn_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        PictureError, match=r"rewards\.txt: a picture is one of \.png, \.svg, \.pdf"
    ):
        draw_rewards(tmp_path / "rewards.txt", CURVES, title="")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(PictureError, match=r"taken\.png: "):
        draw_rewards(tmp_path / "taken.png", CURVES, title="")


def test_a_missing_package_says_what_installs_it() -> None:
    with pytest.raises(
        MissingExtraError, match=r"a table needs nowhere_to_be.* 'segue\[parquet\]'"
    ):
        import_extra("nowhere_to_be.found", extra="parquet", purpose="a table")
