"""Whatever bytes a reader meets, it reads them or says what is wrong: nothing else comes out."""

import contextlib
import gzip
import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.logger.core.lines import split_lines
from services.logger.core.validation import sort_payloads
from services.logger.ingest import BodyError, gunzip
from services.recommender.adapters.commit_spool import CommitSpool
from services.recommender.adapters.stored_state import decode_state
from services.trainer.adapters.job_folder import DiskCheckpoints
from shared.artifacts import ArtifactError
from shared.definitions import InvalidExperimentsError, parse_experiments
from shared.edge import read_request_id
from shared.events import InvalidEventError, decode_event
from shared.http import ProblemError
from shared.model_files import load_model, save_model
from shared.origin import check_origin
from simulator.adapters.world_files import load_world
from simulator.core.world import WorldError
from simulator.settings import SettingsError, load_settings
from simulator.worlds import create_world
from tests.unit.logger.factories import NOW, make_payload
from tests.unit.recommender.factories import EXPERIMENTS, make_tracks, make_version
from tests.unit.simulator.worlds import SMALL

FUZZED = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Edit = Callable[[bytes], bytes]


def edits() -> st.SearchStrategy[Edit]:
    """Return what can happen to a file: cut, replaced in the middle, or another one altogether."""
    cut = st.integers(0, 10**6).map(lambda n: lambda text: text[: n % (len(text) + 1)])
    put = st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=40)).map(
        lambda pair: lambda text: _replace(text, *pair)
    )
    other = st.binary(max_size=200).map(lambda given: lambda _: given)
    return st.one_of(cut, put, other)


def _replace(text: bytes, position: int, given: bytes) -> bytes:
    start = position % (len(text) + 1)
    return text[:start] + given + text[start + len(given) :]


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """Copy a folder for one example."""
    with tempfile.TemporaryDirectory() as copy:
        yield Path(shutil.copytree(folder, Path(copy) / "copy"))


@FUZZED
@given(edits())
def test_events(edit: Edit) -> None:
    payload = edit(make_payload())
    with contextlib.suppress(InvalidEventError):
        decode_event(payload)
    batch = sort_payloads(split_lines(payload), now=NOW)
    assert len(batch.accepted) + len(batch.dead_letters) == len(split_lines(payload))


@FUZZED
@given(edits())
def test_gzip(edit: Edit) -> None:
    with contextlib.suppress(BodyError):
        assert len(gunzip(edit(gzip.compress(b"x" * 1000)), limit=2000)) <= 2000


@FUZZED
@given(edits())
def test_definitions_of_experiments(edit: Edit) -> None:
    with contextlib.suppress(InvalidExperimentsError):
        parse_experiments(edit(EXPERIMENTS))


yaml_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@FUZZED
@given(st.data())
def test_definitions_of_experiments_of_any_shape(data: st.DataObject) -> None:
    definitions: Any = yaml.safe_load(EXPERIMENTS)
    place = data.draw(st.sampled_from([definitions, definitions["experiments"][0]]))
    place[data.draw(st.sampled_from([*place, "other"]))] = data.draw(yaml_values)
    with contextlib.suppress(InvalidExperimentsError):
        parse_experiments(yaml.safe_dump(definitions).encode())


@FUZZED
@given(edits())
def test_settings_of_the_simulator(tmp_path: Path, edit: Edit) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_bytes(edit(Path("deploy/simulator.yaml").read_bytes()))
    with contextlib.suppress(SettingsError):
        load_settings(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "world"
    create_world(SMALL, folder)
    return folder


@FUZZED
@given(
    name=st.sampled_from(["tracks.json", "users.json", "tracks.npy", "world.json"]), edit=edits()
)
def test_files_of_a_world(world: Path, name: str, edit: Edit) -> None:
    with copied(world) as folder:
        path = folder / name
        path.write_bytes(edit(path.read_bytes()))
        _reseal(folder / "world.json", name, path)
        with contextlib.suppress(WorldError):
            load_world(folder)


def _reseal(manifest: Path, name: str, path: Path) -> None:
    """Give a damaged file its checksum, so that what is behind that check is reached."""
    with contextlib.suppress(msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
        content = msgspec.json.decode(manifest.read_bytes())
        content["checksums"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if path != manifest:
            manifest.write_bytes(msgspec.json.encode(content))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    save_model(make_version("m1", make_tracks()), folder)
    return folder


@FUZZED
@given(name=st.sampled_from(["neighbours.npy", "top_tracks.npy", "manifest.json"]), edit=edits())
def test_arrays_and_manifest_of_a_model(model: Path, name: str, edit: Edit) -> None:
    with copied(model) as folder:
        path = folder / name
        path.write_bytes(edit(path.read_bytes()))
        _reseal(folder / "manifest.json", path.stem, path)
        with contextlib.suppress(ArtifactError):
            load_model(folder)


@pytest.mark.parametrize("shape", [(10**13,), (2**62, 2**62), (0,), (10**9,)])
def test_an_array_that_says_it_is_larger_than_it_is(model: Path, shape: tuple[int, ...]) -> None:
    header = io.BytesIO()
    described = {"descr": "<i4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    with copied(model) as folder:
        path = folder / "top_tracks.npy"
        path.write_bytes(header.getvalue() + b"\0" * 16)
        _reseal(folder / "manifest.json", "top_tracks", path)
        with pytest.raises(ArtifactError, match="top_tracks"):
            load_model(folder)


@FUZZED
@given(edits())
def test_spools(edit: Edit) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "0.spool"
        record = b"\0\0\0\5" + b"\0\0\0\0" + b"12345"
        path.write_bytes(edit(record * 3))
        spool = CommitSpool(Path(name), max_bytes=1000)
        while len(spool):
            spool.drop_first()
        spool.close()


@FUZZED
@given(st.binary(max_size=100))
def test_stored_sessions(payload: bytes) -> None:
    decode_state(1, b"x" * 16 + payload)


@FUZZED
@given(edits())
def test_checkpoints(tmp_path: Path, edit: Edit) -> None:
    path = tmp_path / "checkpoint.npz"
    said: list[str] = []
    checkpoints = DiskCheckpoints(path, said.append)
    checkpoints.save("f", {"a": np.arange(4)})
    path.write_bytes(edit(path.read_bytes()))
    checkpoints.load("f")


@given(st.binary(max_size=200))
def test_request_ids(given_id: bytes) -> None:
    kept = read_request_id(given_id)
    assert kept.isascii()
    assert 1 <= len(kept) <= 128
    assert not set(kept) & set(" \r\n\t\"'<>\0")


@given(
    st.dictionaries(
        st.sampled_from([b"origin", b"host", b"sec-fetch-site"]),
        st.binary(max_size=40) | st.sampled_from([b"http://[", b"http://[::1]:1", b"null"]),
    ),
    st.booleans(),
)
def test_origins(headers: dict[bytes, bytes], is_local: bool) -> None:
    with contextlib.suppress(ProblemError):
        check_origin(headers, is_local=is_local)
