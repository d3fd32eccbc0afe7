"""Where worlds come from: a generator, botify's files, a play log."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from simulator.adapters.factorisation import fit_factors
from simulator.adapters.play_log import load_play_log, load_songs
from simulator.adapters.world_files import (
    EMBEDDINGS,
    TRACKS,
    USERS,
    WorldManifest,
    load_embeddings,
    load_tracks,
    load_users,
    save_world,
)
from simulator.core.plays import PlayLogParameters, make_play_world, rank_songs
from simulator.core.world import (
    World,
    WorldError,
    WorldParameters,
    make_embeddings_for,
    make_world,
)


class PlaysUsed(msgspec.Struct, frozen=True):
    """How much of a play log its world stands on.

    Attributes:
        n_plays: Plays of the log.
        n_kept: Plays of the songs that were kept.
        n_unknown: Songs that the song table has not.
        n_rare: Songs beyond the number asked for.
    """

    n_plays: int
    n_kept: int
    n_unknown: int
    n_rare: int


def create_world(parameters: WorldParameters, folder: Path) -> WorldManifest:
    """Generate a world into a folder.

    Raises:
        WorldError: If the parameters contradict each other, or the folder holds another world.
    """
    world = make_world(parameters)
    manifest = _describe(
        world,
        origin="generated",
        embeddings="generated",
        seed=parameters.seed,
        parameters=parameters,
    )
    return save_world(world, manifest, folder)


def import_world(source: Path, folder: Path, *, seed: int) -> WorldManifest:
    """Make a world of botify's files; embeddings that are absent are generated.

    Args:
        source: Folder with `tracks.json`, `users.json` and, if they exist, `tracks.npy`.
        folder: Of the new world.
        seed: Of generated embeddings.

    Raises:
        WorldError: If a file is absent or bad, or the folder is the source or holds another world.
    """
    if source.resolve() == folder.resolve():
        raise WorldError(f"{folder}: is the source; name another folder for the world")
    catalog = load_tracks(source / TRACKS)
    users = load_users(source / USERS, catalog)
    is_given = (source / EMBEDDINGS).exists()
    if is_given:
        embeddings = load_embeddings(source / EMBEDDINGS, len(catalog)).astype(np.float32)
    else:
        embeddings = make_embeddings_for(catalog, users, seed)
    world = World(catalog, embeddings, users)
    manifest = _describe(
        world,
        origin="imported",
        embeddings="given" if is_given else "generated",
        seed=seed,
    )
    return save_world(world, manifest, folder)


def import_plays(
    plays: Path, songs: Path, folder: Path, *, parameters: PlayLogParameters
) -> tuple[WorldManifest, PlaysUsed]:
    """Make a world of a play log; listeners are drawn by the songs' popularity.

    Args:
        plays: User, song and count per line, tab-separated.
        songs: The song table.
        folder: Of the new world.
        parameters: Of the world.

    Raises:
        WorldError: If a file is absent or bad, names too few songs, or the folder holds another
            world.
        MissingExtraError: If `implicit` is not installed.
    """
    log = load_play_log(plays)
    table = load_songs(songs)
    is_described = np.array([song in table for song in log.song_ids])
    ranked = rank_songs(log, is_described, parameters.n_tracks)
    if len(ranked) < 3:
        raise WorldError(f"{songs}: describes {len(ranked)} of the songs in {plays}; 3 are needed")
    kept = log.select(ranked)
    factors = fit_factors(kept, n_iterations=parameters.n_iterations, seed=parameters.seed)
    world, scale = make_play_world(
        [table[song] for song in kept.song_ids],
        factors,
        kept.count_listeners(),
        parameters=parameters,
    )
    manifest = _describe(
        world,
        origin="plays",
        embeddings="learnt",
        seed=parameters.seed,
        plays=parameters,
        scale=scale,
    )
    used = PlaysUsed(
        n_plays=int(log.counts.sum(dtype=np.int64)),
        n_kept=int(kept.counts.sum(dtype=np.int64)),
        n_unknown=int((~is_described).sum()),
        n_rare=int(is_described.sum()) - len(ranked),
    )
    return save_world(world, manifest, folder, song_ids=kept.song_ids), used


def _describe(world: World, **origin: Any) -> WorldManifest:
    return WorldManifest(
        n_tracks=len(world.catalog),
        n_artists=len(world.catalog.artists),
        n_users=len(world.users),
        dim=world.embeddings.shape[1],
        **origin,
    )
