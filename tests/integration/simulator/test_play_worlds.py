"""Worlds of play logs, from files to a world that passes its check."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator.adapters.play_log import load_play_log, load_songs
from simulator.adapters.world_files import load_manifest, load_world
from simulator.cli import main
from simulator.core.listeners import score
from simulator.core.world import World, WorldError, WorldParameters, make_world

N_TRACKS, N_PLAYERS = 1_200, 1_500


@pytest.fixture(scope="module")
def truth() -> World:
    parameters = WorldParameters(n_tracks=N_TRACKS, n_artists=120, n_users=N_PLAYERS, seed=3)
    return make_world(parameters)


@pytest.fixture(scope="module")
def plays(truth: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a log in which people play what is near what they like, and what is popular."""
    rng = np.random.default_rng(0)
    popularity = np.log((np.arange(N_TRACKS) + 50.0) ** -0.75)
    lines = []
    for user in truth.users:
        scores = (truth.embeddings[list(user.interests)] @ truth.embeddings.T).max(axis=0)
        weights = np.exp(0.5 * scores + popularity)
        counts = rng.multinomial(60, weights / weights.sum())
        lines += [f"U{user.user}\tSO{t}\t{counts[t]}\n" for t in np.flatnonzero(counts)]
    path = tmp_path_factory.mktemp("plays") / "train_triplets.txt"
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def songs(truth: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the song table as the Million Song Dataset does; it lacks the last song."""
    path = tmp_path_factory.mktemp("songs") / "unique_tracks.txt"
    lines = [
        f"TR{t.track}<SEP>SO{t.track}<SEP>{t.artist}<SEP>{t.title}\n" for t in truth.catalog.tracks
    ]
    path.write_text("".join(lines[:-1]))
    return path


@pytest.fixture(scope="module")
def folder(plays: Path, songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "plays"
    words = ["world", "from-plays", str(plays), str(folder), "--songs", str(songs)]
    assert main([*words, "--tracks", "1000", "--users", "2000", "--seed", "1"]) == 0
    return folder


def test_a_play_log_becomes_a_world_that_passes_its_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = load_manifest(folder)
    assert (manifest.origin, manifest.embeddings) == ("plays", "learnt")
    assert (manifest.n_tracks, manifest.n_users, manifest.dim) == (1_000, 2_000, 100)
    assert manifest.plays is not None
    assert manifest.plays.seed == 1
    assert main(["world", "check", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok"


def test_its_tracks_are_the_logs_songs_the_popular_first(folder: Path, truth: World) -> None:
    world = load_world(folder)
    song_ids = (folder / "songs.txt").read_text().splitlines()
    described = {f"SO{t.track}": (t.artist, t.title) for t in truth.catalog.tracks}
    assert [(t.artist, t.title) for t in world.catalog.tracks] == [described[s] for s in song_ids]
    assert f"SO{N_TRACKS - 1}" not in song_ids  # no description
    was = np.array([int(song[2:]) for song in song_ids])
    assert was[:100].mean() < was[-100:].mean()


def test_songs_lie_near_those_that_they_truly_lie_near(folder: Path, truth: World) -> None:
    song_ids = (folder / "songs.txt").read_text().splitlines()
    rows = np.array([int(song[2:]) for song in song_ids])[:300]  # those with plays to learn from
    learnt, true = load_world(folder).embeddings[:300], truth.embeddings[rows]
    pairs = np.triu_indices(300, 1)
    cosines = [
        (score(e[pairs[0]], e[pairs[1]]))
        / np.linalg.norm(e[pairs[0]], axis=1)
        / np.linalg.norm(e[pairs[1]], axis=1)
        for e in (learnt, true)
    ]
    assert np.corrcoef(*cosines)[0, 1] > 0.5


def test_the_same_log_and_seed_make_the_same_world(
    folder: Path, plays: Path, songs: Path, tmp_path: Path
) -> None:
    words = ["world", "from-plays", str(plays), str(tmp_path / "again"), "--songs", str(songs)]
    assert main([*words, "--tracks", "1000", "--users", "2000", "--seed", "1"]) == 0
    assert load_manifest(tmp_path / "again") == load_manifest(folder)


def test_what_is_left_out_is_said(
    plays: Path, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["world", "from-plays", str(plays), str(tmp_path / "few"), "--songs", str(songs)]
    assert main([*words, "--tracks", "100", "--users", "50", "--iterations", "2"]) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert f"of {60 * N_PLAYERS:,} plays are of the songs that were kept" in said
    assert "1 songs that" in said
    assert f"{load_play_log(plays).song_ids.__len__() - 101:,} with fewer listeners" in said


def test_songs_of_a_plain_table_have_genres(tmp_path: Path) -> None:
    path = tmp_path / "songs.tsv"
    path.write_text(
        "song\tartist\ttitle\tgenre\ns1\tAda\tOne\tjazz\ns2\tBo\tTwo\t\n\ns1\tX\tY\tz\n"
    )
    songs = load_songs(path)
    assert [(s.artist, s.title, s.genre) for s in songs.values()] == [
        ("Ada", "One", "jazz"),
        ("Bo", "Two", ""),
    ]
    path.write_text("s1\tAda\tOne\n")
    assert load_songs(path)["s1"].genre == ""


def test_a_heading_is_no_play(tmp_path: Path) -> None:
    path = tmp_path / "plays.tsv"
    path.write_text("user\tsong\tplays\r\nu\ts\t3\r\nv\ts\t1\r\n")
    log = load_play_log(path)
    assert log.users.tolist() == [0, 1]
    assert log.songs.tolist() == [0, 0]
    assert log.counts.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"u\ts\t1\nu\ts\n", "line 2: 2 fields, not user, song, count"),
        (b"u s 1\n", "line 1: 1 fields"),
        (b"u\ts\tcount\nu\ts\tmany\n", "line 2: count 'many' is not a positive number"),
        (b"u\ts\t0\n", "line 1: count '0'"),
        (b"u\ts\t-1\n", "line 1: count '-1'"),
        (b"u\ts\t1.5\n", "line 1: count '1.5'"),
        (b"u\ts\t99999999999\n", "line 1: count '99999999999'"),
        ("u\ts\t\N{ARABIC-INDIC DIGIT THREE}\n".encode(), "line 1: count"),
        (b"u\ts\t1\n\xff\ts\t1\n", "line 2: not UTF-8"),
        (b"", "no plays"),
        (b"user\tsong\tcount\n", "no plays"),
    ],
)
def test_bad_plays_are_refused_by_line(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "plays.tsv"
    path.write_bytes(content)
    with pytest.raises(WorldError, match=f"plays.tsv: {fault}"):
        load_play_log(path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("s1\tAda\n", "line 1: neither song, artist, title"),
        ("T<SEP>S<SEP>Ada\n", "line 1: neither song, artist, title"),
        ("s1\t\tOne\n", "line 1: no artist"),
        ("", "no songs"),
    ],
)
def test_bad_songs_are_refused_by_line(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "songs.tsv"
    path.write_text(content)
    with pytest.raises(WorldError, match=rf"songs\.tsv: {fault}"):
        load_songs(path)


def test_files_that_do_not_belong_together_are_refused(
    plays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("XX\tAda\tOne\n")
    words = ["world", "from-plays", str(plays), str(tmp_path / "w"), "--songs", str(other)]
    assert main(words) == 1
    assert "other.tsv: describes 0 of the songs in" in capsys.readouterr().err
    words[-1] = str(tmp_path / "absent.tsv")
    assert main(words) == 1
    assert "absent.tsv: No such file" in capsys.readouterr().err


def test_without_implicit_the_extra_is_named(plays: Path, songs: Path, tmp_path: Path) -> None:
    words = ["world", "from-plays", str(plays), str(tmp_path / "w"), "--songs", str(songs)]
    code = (
        "import sys; sys.modules['implicit.als'] = None\n"
        f"from simulator.cli import main; sys.exit(main({words!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "a world of a play log needs implicit" in result.stderr
    assert "pip install 'segue[plays]'" in result.stderr
