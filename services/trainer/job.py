"""The training process: `python -m services.trainer.job`, an order on stdin, messages on stdout."""

import asyncio
import contextlib
import importlib.metadata
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy.typing as npt
from redis.exceptions import RedisError

from services.trainer.adapters.playback_reader import read_playbacks, read_watermark
from services.trainer.adapters.postgres import UNAVAILABLE, open_connection, open_pool
from services.trainer.adapters.publisher import PublicationOptions, publish_patiently
from services.trainer.adapters.registry import Registry
from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import Report
from services.trainer.core.playbacks import make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from services.trainer.core.versions import make_version_id
from services.trainer.order import Message, Order, decode_order, to_dict
from shared.artifacts import (
    ArtifactError,
    ModelManifest,
    ModelVersion,
    fetch_catalog,
    fetch_latest_version,
    make_model,
)
from shared.catalog import Catalog
from shared.redis_client import create_redis

Send = Callable[[Message], None]


def main() -> int:
    """Do the order on stdin; end at once when the service that gave it ends."""
    order = decode_order(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_at_end_of, args=(sys.stdin.fileno(),), daemon=True).start()
    try:
        version = asyncio.run(train(order, _send))
    except (TrainingError, ArtifactError) as error:
        _send(Message(error=str(error)))
        return 1
    except (*UNAVAILABLE, RedisError) as error:
        _send(Message(error=f"cannot read the log or the catalogue: {_name(error)}"))
        return 1
    except Exception as error:
        traceback.print_exc()
        _send(Message(error=f"unexpected: {_name(error)}"))
        return 1
    _send(Message(model_version=version, fields={"peak_memory_bytes": peak_memory_bytes()}))
    return 0


async def train(order: Order, send: Send) -> str:
    """Read, fit and publish; return the version's id.

    Raises:
        TrainingError: If the log cannot be learnt from, or the version cannot be published.
        ArtifactError: If there is no catalogue.
    """
    report = _make_report(send)
    started = time.monotonic()
    report("reading")
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            create_redis(order.redis_url, timeout_s=order.redis_timeout_s)
        )
        catalog = await fetch_catalog(redis)
        parent = await fetch_latest_version(redis)
        playbacks, watermark = await _read(order)
        log = make_log(playbacks)
        del playbacks
        fitted = fit_recipe(log, catalog, parameters=order.parameters, report=report)
        del log
        fitted.metrics["training_s"] = round(time.monotonic() - started, 3)
        fitted.metrics["peak_memory_bytes"] = float(peak_memory_bytes())
        model = _make_version(order, fitted, catalog=catalog, parent=parent, watermark=watermark)
        report("publishing", metrics=fitted.metrics)
        pool = await stack.enter_async_context(open_pool(order.postgres_dsn))
        await publish_patiently(Registry(pool, redis), model, options=_publication(order))
    return model.manifest.model_version


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def _read(order: Order) -> tuple[npt.NDArray[Any], datetime]:
    parameters = order.parameters
    async with open_connection(order.postgres_dsn) as connection:
        watermark = await read_watermark(connection)
        playbacks = await read_playbacks(
            connection, since=parameters.since, until=parameters.until, watermark=watermark
        )
    return playbacks, watermark


def _make_version(
    order: Order, fitted: Fitted, *, catalog: Catalog, parent: str | None, watermark: datetime
) -> ModelVersion:
    now = datetime.now(UTC)
    manifest = ModelManifest(
        model_version=make_version_id(now, order.job_id.hex),
        recipe=order.parameters.recipe,
        created_at=now,
        catalog_checksum=catalog.checksum,
        parent=parent,
        data_from=fitted.data_from,
        data_until=watermark,
        n_sessions=fitted.n_sessions,
        n_playbacks=fitted.n_playbacks,
        parameters=to_dict(order.parameters),
        seed=order.parameters.seed,
        code_version=importlib.metadata.version("segue"),
        metrics=fitted.metrics,
    )
    return make_model(manifest, fitted.arrays)


def _publication(order: Order) -> PublicationOptions:
    return PublicationOptions(
        activate=order.parameters.activate,
        keep=order.keep_versions,
        attempts=order.publish_attempts,
        wait_s=order.publish_wait_s,
        folder=order.folder,
    )


def _make_report(send: Send) -> Report:
    def report(stage: str, **fields: Any) -> None:
        send(Message(stage=stage, fields=fields))

    return report


def _send(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def _exit_at_end_of(pipe: int) -> None:
    """End the process when its starter is gone: nobody would learn of what it publishes."""
    # Not through sys.stdin: the interpreter cannot end while a thread waits in its buffer.
    while os.read(pipe, 1024):
        pass
    os._exit(1)


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
