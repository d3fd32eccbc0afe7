"""Worlds on disk."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from simulator.adapters.world_files import load_manifest, load_world
from simulator.core.policies import Random, StickyArtist
from simulator.core.world import WorldError, WorldParameters, make_dynamics, make_world
from simulator.rollout import simulate_sessions
from simulator.worlds import create_world, import_world
from tests.unit.simulator.worlds import SMALL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_world(SMALL, tmp_path / "world")
    return tmp_path / "world"


def test_a_stored_world_is_the_generated_one(folder: Path) -> None:
    stored, made = load_world(folder), make_world(SMALL)
    assert stored.catalog.checksum == made.catalog.checksum
    assert stored.users == made.users
    assert (stored.embeddings == made.embeddings).all()
    assert load_manifest(folder).parameters == SMALL


def test_the_same_parameters_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    create_world(SMALL, tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_files_are_botifys(folder: Path) -> None:
    track = msgspec.json.decode((folder / "tracks.json").read_bytes().splitlines()[0])
    assert {"track", "artist", "title"} <= set(track)
    user = msgspec.json.decode((folder / "users.json").read_bytes().splitlines()[0])
    assert set(user) == {"user", "interests", "consume_bias", "consume_sharpness"}
    assert np.load(folder / "tracks.npy").shape == (400, 100)


def reseal(folder: Path) -> None:
    """Give a damaged world the checksums that go with it, so that deeper checks are reached."""
    manifest = msgspec.json.decode((folder / "world.json").read_bytes())
    for name in manifest["checksums"]:
        manifest["checksums"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "world.json").write_bytes(msgspec.json.encode(manifest))


def edit_array(folder: Path, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(folder / "tracks.npy", edit(np.load(folder / "tracks.npy")))


def put_nan(array: np.ndarray) -> np.ndarray:
    array[17, 3] = np.nan
    return array


@pytest.mark.parametrize("name", ["tracks.json", "tracks.npy", "users.json", "world.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WorldError, match=rf"{name}: No such file"):
        load_world(folder)


@pytest.mark.parametrize("name", ["tracks.json", "tracks.npy", "users.json"])
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-10] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(WorldError, match=rf"{name}: is not the file that world.json describes"):
        load_world(folder)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda array: array[:-1], r"tracks.npy: shape \(399, 100\) for 400 tracks"),
        (lambda array: array[:, 0], r"tracks.npy: shape \(400,\) for 400 tracks"),
        (lambda array: array[:, :0], r"tracks.npy: shape \(400, 0\)"),
        (lambda array: array.astype(np.float64), "tracks.npy: holds float64, not float32"),
        (put_nan, "tracks.npy: has values that are not finite"),
        (lambda array: array[:, :50], "world.json: dim is 100, the files have 50"),
    ],
)
def test_bad_embeddings_are_refused(
    folder: Path, damage: Callable[[np.ndarray], np.ndarray], fault: str
) -> None:
    edit_array(folder, damage)
    reseal(folder)
    with pytest.raises(WorldError, match=fault):
        load_world(folder)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("users.json", b'{"user": 0, "interests": [400]}\n', "user 0: interest 400 is not in"),
        ("users.json", b'{"user": 0, "interests": []}\n', "users.json: line 1: "),
        ("users.json", b'{"user": 0, "interests": [1]}\n' * 2, "users.json: a user id repeats"),
        ("users.json", b"", "users.json: no users"),
        ("users.json", b"\xff\n", "users.json: line 1: "),
        ("tracks.json", b'{"track": 0}\n', "tracks.json: line 1: "),
        ("tracks.json", b"", "tracks.json: no tracks"),
        ("tracks.npy", b"rubbish", "tracks.npy: not a .npy file"),
        ("tracks.npy", b"", "tracks.npy: not a .npy file"),
    ],
)
def test_bad_files_are_refused(folder: Path, name: str, content: bytes, fault: str) -> None:
    (folder / name).write_bytes(content)
    reseal(folder)
    with pytest.raises(WorldError, match=fault):
        load_world(folder)


@pytest.mark.parametrize("name", ["tracks.json", "tracks.npy", "users.json"])
def test_a_truncated_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(WorldError, match=rf"{name}: is not the file that world.json describes"):
        load_world(folder)
    reseal(folder)  # a careful vandal is found out by what the files say
    with pytest.raises(WorldError, match=rf"{name}: |world.json: n_"):
        load_world(folder)


def test_a_damaged_manifest_is_refused(folder: Path) -> None:
    (folder / "world.json").write_text("{")
    with pytest.raises(WorldError, match=r"world\.json: "):
        load_world(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"colour": 1}, "unknown field `colour`"),
        ({"seed": "one"}, "Expected `int`, got `str` - at `\\$.seed`"),
        ({"parameters": {"n_tracks": 0}}, r"`int` >= 1 - at `\$.parameters.n_tracks`"),
        ({"parameters": {"n_trakcs": 9}}, "unknown field `n_trakcs`"),
        ({"origin": "found"}, "Invalid enum value 'found'"),
        ({"n_tracks": 7}, "n_tracks is 7, the files have 400"),
        ({"n_artists": 7}, "n_artists is 7, the files have 40"),
        ({"n_users": 7}, "n_users is 7, the files have 60"),
        ({"checksums": {}}, "tracks.json: is not the file that world.json describes"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    folder: Path, change: dict[str, object], fault: str
) -> None:
    path = folder / "world.json"
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **change}))
    with pytest.raises(WorldError, match=fault):
        load_world(folder)


def test_a_manifest_that_names_a_file_elsewhere_is_refused(folder: Path) -> None:
    path = folder / "world.json"
    manifest = msgspec.json.decode(path.read_bytes())
    manifest["checksums"]["../secret"] = ""
    path.write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(WorldError, match=r"world\.json: \.\./secret is no file of a world"):
        load_world(folder)


def test_a_folder_that_holds_another_world_is_left_alone(folder: Path, tmp_path: Path) -> None:
    before = (folder / "tracks.json").read_bytes()
    with pytest.raises(WorldError, match="holds another world"):
        create_world(msgspec.structs.replace(SMALL, seed=6), folder)
    with pytest.raises(WorldError, match="is the source"):
        import_world(folder, folder / "." / "../world", seed=1)
    assert (folder / "tracks.json").read_bytes() == before
    create_world(SMALL, folder)  # the same one is no loss
    (folder / "world.json").write_text("{")  # nor is a damaged one
    create_world(msgspec.structs.replace(SMALL, seed=6), folder)
    assert load_manifest(folder).seed == 6


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match="file: File exists"):
        create_world(SMALL, tmp_path / "file")


def test_a_world_of_pickles_is_refused(folder: Path) -> None:
    np.save(folder / "tracks.npy", np.array([{}], dtype=object))
    reseal(folder)
    with pytest.raises(WorldError, match=r"tracks\.npy: not a \.npy file of numbers"):
        load_world(folder)


def test_import_takes_given_embeddings_and_generates_absent_ones(
    folder: Path, tmp_path: Path
) -> None:
    given = import_world(folder, tmp_path / "given", seed=3)
    assert (given.origin, given.embeddings) == ("imported", "given")
    assert (load_world(tmp_path / "given").embeddings == load_world(folder).embeddings).all()
    (folder / "tracks.npy").unlink()
    generated = import_world(folder, tmp_path / "generated", seed=3)
    assert generated.embeddings == "generated"
    world = load_world(tmp_path / "generated")
    assert world.users == load_world(tmp_path / "given").users
    assert (world.embeddings != load_world(tmp_path / "given").embeddings).any()


def test_import_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    edit_array(folder, put_nan)
    with pytest.raises(WorldError, match=r"tracks\.npy: has values"):
        import_world(folder, tmp_path / "new", seed=0)
    np.save(folder / "tracks.npy", np.full((400, 100), "x"))
    with pytest.raises(WorldError, match=r"tracks\.npy: holds <U1, not real numbers"):
        import_world(folder, tmp_path / "new", seed=0)
    (folder / "users.json").write_bytes(b'{"user": 0, "interests": [7000]}')
    with pytest.raises(WorldError, match=r"users\.json: user 0: interest 7000"):
        import_world(folder, tmp_path / "new", seed=0)
    with pytest.raises(WorldError, match=r"tracks\.json: No such file"):
        import_world(tmp_path / "nowhere", tmp_path / "new", seed=0)
    assert not (tmp_path / "new").exists()


def test_botifys_own_files_make_a_world(botify_data: Path, tmp_path: Path) -> None:
    manifest = import_world(botify_data, tmp_path / "botify", seed=7)
    assert (manifest.n_tracks, manifest.n_artists, manifest.n_users) == (50_000, 11_464, 10_000)
    started = time.perf_counter()
    world = load_world(tmp_path / "botify")
    assert time.perf_counter() - started < 3  # under 1 s alone; tests share the machine
    assert world.catalog.tracks[0].title == "The Cove"
    dynamics = make_dynamics(world)
    policies = (Random(50_000), StickyArtist(dynamics.artist_rows, replays=True))
    random, sticky = (
        simulate_sessions(dynamics, policy, seed=1, episodes=np.arange(6_000))
        for policy in policies
    )
    assert abs(random.time.mean - 2.15) < 0.08  # WORLD.md, both intervals
    assert abs(sticky.time.mean - 3.02) < 0.06


def test_a_large_world_is_made_block_by_block(tmp_path: Path) -> None:
    parameters = WorldParameters(n_tracks=150_000, n_artists=15_000, n_users=1_000)
    manifest = create_world(parameters, tmp_path / "large")
    assert manifest.n_tracks == 150_000
    assert np.isfinite(load_world(tmp_path / "large").embeddings).all()
