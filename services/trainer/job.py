"""The training process: `python -m services.trainer.job`, an order on stdin, messages on stdout."""

import asyncio
import os
import sys
import threading
import traceback

import msgspec
from redis.exceptions import RedisError

from services.trainer.adapters.postgres import UNAVAILABLE
from services.trainer.adapters.registry import JobOverError
from services.trainer.core.errors import TrainingError
from services.trainer.order import Message, Order, decode_order
from services.trainer.stage_spans import StageSpans
from services.trainer.work import peak_memory_bytes, train
from shared.artifacts import ArtifactError
from shared.tracing import create_tracing


def main() -> int:
    """Do the order on stdin; end at once when the service that gave it ends."""
    order = decode_order(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_at_end_of, args=(sys.stdin.fileno(),), daemon=True).start()
    try:
        version = asyncio.run(_train(order))
    except (TrainingError, ArtifactError, JobOverError) as error:
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


async def _train(order: Order) -> str:
    tracing = create_tracing("trainer")
    if tracing is None:
        return await train(order, _send)
    attributes = {"segue.job_id": str(order.job_id), "segue.recipe": order.parameters.recipe}
    try:
        with (
            tracing.span("training", parent=order.traceparent, attributes=attributes),
            StageSpans(tracing, _send) as send,
        ):
            return await train(order, send)
    finally:
        tracing.close()


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
