"""A world on disk: a folder with `tracks.json`, `tracks.npy`, `users.json` and `world.json`."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from shared.catalog import Catalog, InvalidCatalogError, parse_catalog
from simulator.core.listeners import Float32Array, User
from simulator.core.world import (
    World,
    WorldError,
    WorldParameters,
    interest_rows,
    make_embeddings_for,
    make_world,
)

MANIFEST = "world.json"
TRACKS, EMBEDDINGS, USERS = "tracks.json", "tracks.npy", "users.json"


class WorldManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a world is and where it came from.

    Attributes:
        origin: `generated`, or `imported` from botify's files.
        embeddings: `generated`, or `given` with the imported files.
        seed: Of what was generated.
        parameters: Of a generated world.
        n_tracks, n_artists, n_users, dim: Sizes.
        checksums: SHA-256 per file.
    """

    origin: Literal["generated", "imported"]
    embeddings: Literal["generated", "given"]
    seed: int
    parameters: WorldParameters | None = None
    n_tracks: int
    n_artists: int
    n_users: int
    dim: int
    checksums: dict[str, str] = msgspec.field(default_factory=dict)


def create_world(parameters: WorldParameters, folder: Path) -> WorldManifest:
    """Generate a world into a folder.

    Raises:
        WorldError: If the parameters contradict each other.
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
        WorldError: If a file is absent or bad.
    """
    catalog = _parse_catalog(source / TRACKS, _read(source / TRACKS))
    users = _parse_users(source / USERS, _read(source / USERS))
    _check_interests(source / USERS, catalog, users)
    path = source / EMBEDDINGS
    is_given = path.exists()
    if is_given:
        embeddings: Float32Array = np.asarray(_load_array(path), dtype=np.float32)
    else:
        embeddings = make_embeddings_for(catalog, users, seed)
    _check_embeddings(path, embeddings, len(catalog))
    world = World(catalog, embeddings, users)
    manifest = _describe(
        world,
        origin="imported",
        embeddings="given" if is_given else "generated",
        seed=seed,
        parameters=None,
    )
    return save_world(world, manifest, folder)


def save_world(world: World, manifest: WorldManifest, folder: Path) -> WorldManifest:
    """Write a world; the manifest comes last, so that a folder with one is whole.

    Returns:
        The manifest, with checksums.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / TRACKS).write_bytes(world.catalog.to_json_lines())
    (folder / USERS).write_bytes(msgspec.json.Encoder().encode_lines(world.users))
    np.save(folder / EMBEDDINGS, world.embeddings, allow_pickle=False)
    checksums = {name: _checksum(folder / name) for name in (TRACKS, EMBEDDINGS, USERS)}
    manifest = msgspec.structs.replace(manifest, checksums=checksums)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST).write_bytes(text + b"\n")
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
    for name in (TRACKS, EMBEDDINGS, USERS):
        if _checksum(folder / name) != manifest.checksums.get(name):
            raise WorldError(f"{folder / name}: is not the file that {MANIFEST} describes")
    catalog = _parse_catalog(folder / TRACKS, _read(folder / TRACKS))
    users = _parse_users(folder / USERS, _read(folder / USERS))
    embeddings = _load_array(folder / EMBEDDINGS)
    _check_embeddings(folder / EMBEDDINGS, embeddings, len(catalog))
    _check_interests(folder / USERS, catalog, users)
    sizes = {"n_tracks": len(catalog), "n_users": len(users), "dim": embeddings.shape[1]}
    for name, size in sizes.items():
        if getattr(manifest, name) != size:
            raise WorldError(
                f"{folder / MANIFEST}: {name} is {getattr(manifest, name)}, the files have {size}"
            )
    return World(catalog, embeddings, users)


def _describe(world: World, **origin: Any) -> WorldManifest:
    return WorldManifest(
        n_tracks=len(world.catalog),
        n_artists=len(world.catalog.artists),
        n_users=len(world.users),
        dim=world.embeddings.shape[1],
        **origin,
    )


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


def _parse_catalog(path: Path, text: bytes) -> Catalog:
    try:
        return parse_catalog(text)
    except InvalidCatalogError as error:
        raise WorldError(f"{path}: {error}") from error


def _parse_users(path: Path, text: bytes) -> tuple[User, ...]:
    decoder = msgspec.json.Decoder(User)
    users = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            users.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise WorldError(f"{path}: line {number}: {error}") from error
    if not users:
        raise WorldError(f"{path}: no users")
    if len({user.user for user in users}) < len(users):
        raise WorldError(f"{path}: a user id repeats")
    return tuple(users)


def _load_array(path: Path) -> Float32Array:
    try:
        array: Float32Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise WorldError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise WorldError(f"{path}: not a .npy file of numbers: {error}") from error
    return array


def _check_embeddings(path: Path, embeddings: Float32Array, n_tracks: int) -> None:
    if embeddings.dtype != np.float32:
        raise WorldError(f"{path}: holds {embeddings.dtype}, not float32")
    if embeddings.ndim != 2 or len(embeddings) != n_tracks or embeddings.shape[1] == 0:
        raise WorldError(f"{path}: shape {embeddings.shape} for {n_tracks} tracks")
    if not np.isfinite(embeddings).all():
        raise WorldError(f"{path}: has values that are not finite numbers")


def _check_interests(path: Path, catalog: Catalog, users: tuple[User, ...]) -> None:
    try:
        interest_rows(catalog, users)
    except WorldError as error:
        raise WorldError(f"{path}: {error}") from error
