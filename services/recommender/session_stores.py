"""Which session store the settings ask for."""

from collections.abc import Callable
from pathlib import Path

from services.recommender.adapters.commit_spool import CommitSpool
from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.recent_states import (
    N_SLOTS,
    RING_BYTES,
    SUFFIX,
    RecentStates,
)
from services.recommender.adapters.redis_cluster import RedisClusterConnection
from services.recommender.adapters.redis_connection import RedisCommands, RedisConnection
from services.recommender.adapters.session_store import RedisSessionStore, SessionStore
from services.recommender.adapters.sharded_store import ShardedSessionStore
from services.recommender.adapters.spooling_store import SpoolingSessionStore
from services.recommender.settings import Settings
from shared.redis_place import parse_redis_url
from shared.tracing import Tracing


def create_store(settings: Settings, metrics: Metrics, tracing: Tracing | None) -> SessionStore:
    """Create a store on a server or a cluster, with or without a spool; nothing is opened yet."""
    place = parse_redis_url(settings.redis_url)
    redis: RedisCommands
    if place.n_shards:
        redis = RedisClusterConnection(place.urls)
    else:
        redis = RedisConnection(settings.redis_url)

    def connect(states: RecentStates | None) -> RedisSessionStore:
        return RedisSessionStore(
            redis,
            timeout_s=settings.session_timeout_s,
            deadline_s=settings.deadline_s,
            n_shards=place.n_shards,
            tracing=tracing,
            states=states,
        )

    if settings.spool is None:
        return connect(None)
    return _spool(
        connect, settings.spool, n_shards=place.n_shards, settings=settings, metrics=metrics
    )


def _spool(
    connect: Callable[[RecentStates | None], RedisSessionStore],
    root: Path,
    *,
    n_shards: int,
    settings: Settings,
    metrics: Metrics,
) -> SessionStore:
    """Let the store go on without Redis; in a cluster, each shard by itself."""
    spooled: dict[Path, tuple[int, int]] = {}

    def make(folder: Path, n_stores: int) -> SessionStore:
        def count(n_commits: int, n_bytes: int) -> None:
            spooled[folder] = n_commits, n_bytes
            metrics.show_spooled(*map(sum, zip(*spooled.values(), strict=True)))

        spool = CommitSpool(folder, max_bytes=settings.spool_bytes // n_stores)
        recent = RecentStates(
            spool.path.with_suffix(SUFFIX),
            max_age_s=settings.session_timeout_s,
            n_slots=N_SLOTS // n_stores,
            ring_bytes=RING_BYTES // n_stores,
        )
        return SpoolingSessionStore(
            connect(recent),
            spool,
            recent,
            seconds=metrics.seconds,
            rest_s=settings.rest_s,
            on_change=count,
        )

    if not n_shards:
        return make(root, 1)
    # A spool is of users by their shards: of another number of shards it is another spool.
    folders = [root / f"{n_shards}-shards" / str(k) for k in range(n_shards)]
    return ShardedSessionStore([make(folder, n_shards) for folder in folders])
