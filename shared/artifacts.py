"""Model versions: what a training publishes, immutable; and the pointer to the one that serves.

A version is a manifest and named numpy arrays. In Redis every array is one `.npy` value, so that
shape and type travel with the data and nothing is ever unpickled. Publication writes the version's
keys and then moves the pointer, in one transaction; a reader that sees the pointer sees the keys.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from redis.asyncio import Redis

from shared.arrays import AnyArray, from_npy, to_npy
from shared.experiments import Name
from shared.model_arrays import ARRAYS, check_array

# The hash tag keeps the pointer, every version and the catalogue in one slot of a Redis Cluster.
PREFIX = "segue:{models}:"
LATEST_KEY = f"{PREFIX}latest"
VERSIONS_KEY = f"{PREFIX}versions"
MODELS_KEY = LATEST_KEY  # any key of theirs: one client serves them all


class ArtifactError(ValueError):
    """A model version that is absent or cannot be trusted; the message says which and why."""


class ModelManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a model version is and where it came from.

    Attributes:
        model_version: Id of the version.
        recipe: Name of the configuration that trained it.
        created_at: Aware UTC.
        catalog_checksum: Of the catalogue whose rows the arrays index.
        parent: Version that was serving when this one was trained.
        data_from: Time of the first playback trained on.
        data_until: Watermark: nothing stored after it was read.
        learnt_until: Start of the first session that it did not learn from, being held out or
            outside its window; None if it learnt from all that were stored.
        n_sessions: Sessions trained on.
        n_playbacks: Playbacks trained on.
        parameters: Of the training.
        seed: Of the training.
        code_version: Of this package.
        metrics: Of the evaluation.
        checksums: SHA-256 per array, of its `.npy` form.
    """

    model_version: Name
    recipe: str
    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    catalog_checksum: str
    parent: str | None = None
    data_from: datetime | None = None
    data_until: datetime | None = None
    learnt_until: datetime | None = None
    n_sessions: int = 0
    n_playbacks: int = 0
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    seed: int = 0
    code_version: str = ""
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    checksums: dict[str, str] = msgspec.field(default_factory=dict)


class ModelVersion(msgspec.Struct, frozen=True):
    """A manifest and its arrays, all indexed by catalogue row.

    Arrays, each optional:
        neighbours: int32 (n_tracks, k): rows to recommend after row i, best first, -1 pads.
        top_tracks: int32 (n,): rows by popularity, best first.
        user_ids, user_tracks: int32 (n_users,) and (n_users, k): rows per user, -1 pads.
        context_embedding, track_embedding: float32 (n_tracks, dim).

    Arrays of the recipe `session`, where a playback's logit is s <e, i> - o with a track's
    embedding e, the session's interest i and the listener's slope s and offset o:
        track_variance: float32 (n_tracks,): variance of the logit that is due to the track.
        context_embedding: Mean of i in a session that starts with the track.
        session_covariance: float32 (dim, dim): of i around that mean.
        interest_prior: float32 (2, dim): mean and variance of an i of which nothing is known.
        session_constants: float32 (2,): factor on the time per earlier track of the same artist;
            variance of a logit that nothing explains.
        user_listener: float32 (n_users + 1, 5): mean of s and o, variance of s, covariance,
            variance of o, in the order of `user_ids`; the last row is an unknown user's.
        interest_users: int32 (n_interests,): row of `user_ids` that each interest belongs to.
        interest_embedding, interest_variance: float32 (n_interests, dim): mean of an interest
            known from earlier sessions, and the diagonal of its covariance.
    """

    manifest: ModelManifest
    arrays: Mapping[str, AnyArray]


def make_model(manifest: ModelManifest, arrays: Mapping[str, AnyArray]) -> ModelVersion:
    """Seal a model version: the manifest gets the arrays' checksums.

    Raises:
        ArtifactError: If an array's name, type or shape is not one that a recommender can read.
    """
    try:
        for name, array in arrays.items():
            check_array(name, array)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    checksums = {name: _checksum(to_npy(array)) for name, array in arrays.items()}
    return ModelVersion(msgspec.structs.replace(manifest, checksums=checksums), dict(arrays))


async def publish_model(
    redis: Redis, model: ModelVersion, *, activate: bool = True, keep: int = 5
) -> None:
    """Write a version and move the pointer to it, in one transaction.

    Args:
        redis: Connection without `decode_responses`.
        model: A sealed version.
        activate: Whether it becomes `latest`.
        keep: Newest versions that stay in Redis; the active one stays in any case.
    """
    manifest = model.manifest
    version = manifest.model_version
    active = version if activate else await fetch_latest_version(redis)
    known = [name.decode() for name in await redis.zrevrange(VERSIONS_KEY, 0, -1)]
    stays = [name for name in known if name != version][: keep - 1]
    expired = [name for name in known if name not in {version, active, *stays}]
    async with redis.pipeline(transaction=True) as pipe:
        for name, array in model.arrays.items():
            pipe.set(_array_key(version, name), to_npy(array))
        pipe.set(_manifest_key(version), msgspec.json.encode(manifest))
        pipe.zadd(VERSIONS_KEY, {version: manifest.created_at.timestamp()})
        for name in expired:
            pipe.unlink(_manifest_key(name), *(_array_key(name, array) for array in ARRAYS))
            pipe.zrem(VERSIONS_KEY, name)
        if activate:
            pipe.set(LATEST_KEY, version)
        await pipe.execute()


async def activate_model(redis: Redis, version: str) -> None:
    """Move the pointer: forward to a new version, or back.

    Raises:
        ArtifactError: If Redis has no such version.
    """
    if not await redis.exists(_manifest_key(version)):
        raise ArtifactError(f"model version {version} is not in Redis")
    await redis.set(LATEST_KEY, version)


async def fetch_latest_version(redis: Redis) -> str | None:
    """Fetch the id of the version that serves; None before the first publication."""
    version = await redis.get(LATEST_KEY)
    return version.decode() if version else None


async def fetch_manifests(redis: Redis) -> list[ModelManifest]:
    """Fetch the manifests of all versions in Redis, newest first."""
    versions = [name.decode() for name in await redis.zrevrange(VERSIONS_KEY, 0, -1)]
    if not versions:
        return []
    values = await redis.mget([_manifest_key(version) for version in versions])
    return [msgspec.json.decode(value, type=ModelManifest) for value in values if value]


async def fetch_model(
    redis: Redis, version: str, *, only: Collection[str] = ARRAYS
) -> ModelVersion:
    """Fetch and verify a version.

    Args:
        redis: Connection without `decode_responses`.
        version: Its id.
        only: Arrays to fetch, of those that it has.

    Raises:
        ArtifactError: If it is absent, incomplete, damaged, or has an impossible array.
    """
    payload = await redis.get(_manifest_key(version))
    if payload is None:
        raise ArtifactError(f"model version {version} is not in Redis")
    manifest = decode_manifest(version, payload)
    names = [name for name in manifest.checksums if name in only]
    values = await redis.mget([_array_key(version, name) for name in names]) if names else []
    return open_model(manifest, dict(zip(names, values, strict=True)))


def _manifest_key(version: str) -> str:
    return f"{PREFIX}{version}:manifest"


def _array_key(version: str, name: str) -> str:
    return f"{PREFIX}{version}:{name}"


def decode_manifest(version: str, payload: bytes) -> ModelManifest:
    """Read a version's manifest.

    Raises:
        ArtifactError: If it is none.
    """
    try:
        return msgspec.json.decode(payload, type=ModelManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(f"model version {version}: manifest: {error}") from error


def open_model(manifest: ModelManifest, payloads: Mapping[str, bytes | None]) -> ModelVersion:
    """Verify what a version's arrays were stored as, and read it.

    Raises:
        ArtifactError: If an array is missing, damaged or impossible.
    """
    arrays = {}
    for name, payload in payloads.items():
        where = f"model version {manifest.model_version}: array {name}"
        if payload is None:
            raise ArtifactError(f"{where} is missing")
        if _checksum(payload) != manifest.checksums[name]:
            raise ArtifactError(f"{where} is damaged: its checksum differs from the manifest's")
        try:
            arrays[name] = from_npy(payload)
            check_array(name, arrays[name])
        except ValueError as error:
            raise ArtifactError(f"{where} cannot be used: {error}") from error
    return ModelVersion(manifest, arrays)


def _checksum(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
