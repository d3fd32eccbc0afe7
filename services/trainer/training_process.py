"""The training process, from the service's side."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

import msgspec

from services.trainer.order import Message, Order, encode_order

COMMAND = ("-m", "services.trainer.job")
ENVIRONMENT = {
    # torch looks for a folder for compiled code, which we have none of, and fails on a full disk;
    # this one is there.
    "TORCHINDUCTOR_CACHE_DIR": sys.prefix,
}
MAX_LINE_BYTES = 1024 * 1024


class TrainingProcess:
    """A process that does one order, killed when it is let go."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take a process whose stdin and stdout are pipes."""
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout

    def order(self, order: Order) -> None:
        """Say what to do; stdin stays open: its end tells the process that the service is gone."""
        self._stdin.write(encode_order(order))

    async def read_messages(self) -> AsyncIterator[Message]:
        """Read what it says, until it ends."""
        async for line in self._stdout:
            yield msgspec.json.decode(line, type=Message)
        await self._process.wait()

    def kill(self) -> None:
        """Kill it, if it runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> str:
        """Kill it if it runs still; say how it ended."""
        if self._process.returncode is None:
            self.kill()
            await self._process.wait()
        self._stdin.close()
        return _describe_exit(self._process.returncode or 0)


async def start_process() -> TrainingProcess:
    """Start a process that waits for its order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRONMENT | os.environ,
        limit=MAX_LINE_BYTES,
    )
    return TrainingProcess(process)


def _describe_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with {returncode} and no word"
    return f"was killed by {signal.Signals(-returncode).name}"
