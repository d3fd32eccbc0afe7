"""A world on disk: a folder with `tracks.json`, `tracks.npy`, `users.json` and `world.json`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from shared.arrays import NO_ARRAY
from shared.catalog import Catalog, InvalidCatalogError, parse_catalog
from simulator.core.listeners import User
from simulator.core.plays import PlayLogParameters
from simulator.core.world import World, WorldError, WorldParameters, interest_rows

MANIFEST = "world.json"
TRACKS, EMBEDDINGS, USERS = "tracks.json", "tracks.npy", "users.json"
SONGS = "songs.txt"  # of a play log: line i is the log's name of track i
_FILES = (TRACKS, EMBEDDINGS, USERS)


class WorldManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a world is and where it came from.

    Attributes:
        origin: `generated`, `imported` from botify's files, or `plays`, a play log.
        embeddings: `generated`, `given` with the imported files, or `learnt` from the plays.
        seed: Of what was generated.
        parameters: Of a generated world.
        plays: Parameters of a play log's world.
        scale: Factor on learnt embeddings that makes random play a standard world's.
        n_tracks, n_artists, n_users, dim: Sizes.
        checksums: SHA-256 per file.
    """

    origin: Literal["generated", "imported", "plays"]
    embeddings: Literal["generated", "given", "learnt"]
    seed: int
    parameters: WorldParameters | None = None
    plays: PlayLogParameters | None = None
    scale: float | None = None
    n_tracks: int
    n_artists: int
    n_users: int
    dim: int
    checksums: dict[str, str] = msgspec.field(default_factory=dict)


def save_world(
    world: World, manifest: WorldManifest, folder: Path, *, song_ids: Sequence[str] = ()
) -> WorldManifest:
    """Write a world; the manifest comes last, so that a folder with one is whole.

    Args:
        world: The world.
        manifest: Without checksums.
        folder: Where; made if it is absent. A world that is there may only be the same one.
        song_ids: What a play log calls the tracks.

    Returns:
        The manifest, with checksums.

    Raises:
        WorldError: If the folder holds another world, or cannot be written.
    """
    _refuse_another(manifest, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        (folder / TRACKS).write_bytes(world.catalog.to_json_lines())
        (folder / USERS).write_bytes(msgspec.json.Encoder().encode_lines(world.users))
        np.save(folder / EMBEDDINGS, world.embeddings, allow_pickle=False)
        names: tuple[str, ...] = _FILES
        if song_ids:
            (folder / SONGS).write_text("".join(f"{song}\n" for song in song_ids))
            names = (*_FILES, SONGS)
        checksums = {name: _checksum(folder / name) for name in names}
        manifest = msgspec.structs.replace(manifest, checksums=checksums)
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (folder / MANIFEST).write_bytes(text + b"\n")
    except OSError as error:
        raise WorldError(f"{error.filename or folder}: {error.strerror}") from error
    return manifest


def load_manifest(folder: Path) -> WorldManifest:
    """Read a world's manifest.

    Raises:
        WorldError: If it is absent or damaged.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(_read(path), type=WorldManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WorldError(f"{path}: {error}") from error


def load_world(folder: Path) -> World:
    """Read and verify a world; its embeddings stay on disk until they are used.

    Raises:
        WorldError: If a file is absent, damaged or contradicts another; names it and the fault.
    """
    manifest = load_manifest(folder)
    for name in dict.fromkeys((*_FILES, *manifest.checksums)):
        if name not in (*_FILES, SONGS):
            raise WorldError(f"{folder / MANIFEST}: {name} is no file of a world")
        if _checksum(folder / name) != manifest.checksums.get(name):
            raise WorldError(f"{folder / name}: is not the file that {MANIFEST} describes")
    catalog = load_tracks(folder / TRACKS)
    users = load_users(folder / USERS, catalog)
    embeddings = load_embeddings(folder / EMBEDDINGS, len(catalog))
    if embeddings.dtype != np.float32:
        raise WorldError(f"{folder / EMBEDDINGS}: holds {embeddings.dtype}, not float32")
    sizes = {
        "n_tracks": len(catalog),
        "n_artists": len(catalog.artists),
        "n_users": len(users),
        "dim": embeddings.shape[1],
    }
    for name, size in sizes.items():
        if getattr(manifest, name) != size:
            raise WorldError(
                f"{folder / MANIFEST}: {name} is {getattr(manifest, name)}, the files have {size}"
            )
    return World(catalog, embeddings, users)


def load_tracks(path: Path) -> Catalog:
    """Read a catalogue.

    Raises:
        WorldError: If the file is absent or a line is bad.
    """
    try:
        return parse_catalog(_read(path))
    except InvalidCatalogError as error:
        raise WorldError(f"{path}: {error}") from error


def load_users(path: Path, catalog: Catalog) -> tuple[User, ...]:
    """Read listeners.

    Raises:
        WorldError: If the file is absent, a line is bad, a user repeats, or likes a track that the
            catalogue has not.
    """
    decoder = msgspec.json.Decoder(User)
    users = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        try:
            users.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise WorldError(f"{path}: line {number}: {error}") from error
    if not users:
        raise WorldError(f"{path}: no users")
    if len({user.user for user in users}) < len(users):
        raise WorldError(f"{path}: a user id repeats")
    try:
        interest_rows(catalog, tuple(users))
    except WorldError as error:
        raise WorldError(f"{path}: {error}") from error
    return tuple(users)


def load_embeddings(path: Path, n_tracks: int) -> npt.NDArray[Any]:
    """Read embeddings, which stay on disk until they are used.

    Returns:
        Of any type of real numbers, shape (n_tracks, dim).

    Raises:
        WorldError: If the file is absent or no array, or its shape or numbers cannot be right.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise WorldError(f"{path}: {error.strerror or error}") from error
    except NO_ARRAY as error:
        raise WorldError(f"{path}: not a .npy file of numbers: {error}") from error
    if array.dtype.kind not in "fiu":
        raise WorldError(f"{path}: holds {array.dtype}, not real numbers")
    if array.ndim != 2 or len(array) != n_tracks or array.shape[1] == 0:
        raise WorldError(f"{path}: shape {array.shape} for {n_tracks} tracks")
    if not np.isfinite(array).all():
        raise WorldError(f"{path}: has values that are not finite numbers")
    return array


def _refuse_another(manifest: WorldManifest, folder: Path) -> None:
    try:
        there = load_manifest(folder)
    except WorldError:
        return  # none, or one that was damaged
    if msgspec.structs.replace(there, checksums={}) != manifest:
        raise WorldError(f"{folder}: holds another world; remove it, or name another folder")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorldError(f"{path}: {error.strerror}") from error


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WorldError(f"{path}: {error.strerror}") from error
