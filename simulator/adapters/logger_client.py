"""The logger: takes events, a few requests at a time, and tells how far behind it is."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator

import msgspec

from shared.events import Event
from simulator.adapters.patient_http import PatientClient, ServiceError

_HEADERS = {b"Content-Type": b"application/x-ndjson"}
_N_REASONS = 3


class Receipt(msgspec.Struct, frozen=True):
    """What the logger says of a request, or of all."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: list[str] = []

    def __add__(self, other: "Receipt") -> "Receipt":
        return Receipt(
            self.received + other.received,
            self.stored + other.stored,
            self.duplicates + other.duplicates,
            self.rejected + other.rejected,
            [*self.reasons, *other.reasons][:_N_REASONS],
        )


class _Lag(msgspec.Struct):
    """What we need of `GET /lag`."""

    undelivered: int
    pending: int


async def fetch_lag(client: PatientClient) -> int:
    """Fetch the number of events that the recommender has sent and no row holds yet.

    Raises:
        ServiceError: If the logger is away for too long, or its answer is rubbish.
    """
    answer = await client.get("/lag")
    try:
        lag = msgspec.json.decode(answer.content, type=_Lag)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"{answer.url}: not an answer of a logger ({error}): {answer.excerpt}"
        ) from error
    return lag.undelivered + lag.pending


async def send_events(
    client: PatientClient,
    events: Iterable[Event],
    *,
    chunk: int,
    n_parallel: int,
    on_receipt: Callable[[Receipt], None],
) -> Receipt:
    """Send events; a repeated request stores nothing twice, for the ids are the events' own.

    Args:
        client: Open, of the logger.
        events: Read as they are sent.
        chunk: Events per request.
        n_parallel: Requests at once.
        on_receipt: Told of each answer.

    Raises:
        ServiceError: If the logger is away for too long, or rejects an event.
    """
    chunks = _cut(events, chunk)
    total = Receipt()

    async def work() -> None:
        nonlocal total
        for content in chunks:
            receipt = await _send(client, content)
            total += receipt
            on_receipt(receipt)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(n_parallel):
                tasks.create_task(work())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return total


def _cut(events: Iterable[Event], chunk: int) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    source = iter(events)
    while batch := list(itertools.islice(source, chunk)):
        yield encoder.encode_lines(batch)


async def _send(client: PatientClient, content: bytes) -> Receipt:
    answer = await client.post("/events", content, _HEADERS)
    try:
        receipt = msgspec.json.decode(answer.content, type=Receipt)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"{answer.url}: not an answer of a logger ({error}): {answer.excerpt}"
        ) from error
    if receipt.rejected:
        raise ServiceError(
            f"{answer.url}: rejects {receipt.rejected} events: {'; '.join(receipt.reasons)}"
        )
    return receipt
