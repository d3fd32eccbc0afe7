"""The world that both stacks start with."""

import os
from pathlib import Path

import pytest

from deploy.commands import CommandError
from deploy.world import ensure_world

N_TRACKS = 300


def make(folder: Path, *, n_tracks: int = N_TRACKS) -> bool:
    return ensure_world(
        folder, n_tracks=n_tracks, log=folder.with_suffix(".log"), environment=os.environ
    )


def test_a_world_is_made_once(tmp_path: Path) -> None:
    world = tmp_path / "world"
    assert make(world)
    before = {path.name: path.read_bytes() for path in world.iterdir()}
    assert before["tracks.json"].count(b"\n") == N_TRACKS
    assert not make(world)
    assert {path.name: path.read_bytes() for path in world.iterdir()} == before


def test_a_world_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    world = tmp_path / "world"
    unfinished = tmp_path / "world.unfinished"
    unfinished.mkdir()
    (unfinished / "debris").touch()
    assert make(world)
    assert not (world / "debris").exists()
    assert not unfinished.exists()


def test_a_world_that_cannot_be_made_is_not_there(tmp_path: Path) -> None:
    world = tmp_path / "world"
    with pytest.raises(CommandError, match="simulator world make"):
        make(world, n_tracks=-1)
    assert not world.exists()
