from hypothesis import given
from hypothesis import strategies as st

from services.logger.core.batching import BatchBuffer
from services.logger.core.lines import split_lines


def test_an_empty_buffer_is_never_due() -> None:
    buffer: BatchBuffer[int] = BatchBuffer(10, 1.0)
    buffer.add([], now=0.0)
    assert buffer.remaining_s(now=100.0) is None


def test_a_full_buffer_is_due_at_once() -> None:
    buffer: BatchBuffer[int] = BatchBuffer(2, 1.0)
    buffer.add([1, 2], now=0.0)
    assert buffer.room == 0
    assert buffer.remaining_s(now=0.0) == 0


def test_the_first_item_decides_when_a_batch_is_due() -> None:
    buffer: BatchBuffer[int] = BatchBuffer(10, 1.0)
    buffer.add([1], now=5.0)
    buffer.add([2], now=5.75)
    assert buffer.remaining_s(now=5.75) == 0.25
    assert buffer.remaining_s(now=7.0) == 0


def test_taking_starts_anew() -> None:
    buffer: BatchBuffer[int] = BatchBuffer(10, 1.0)
    buffer.add([1], now=0.0)
    assert buffer.take() == [1]
    assert len(buffer) == 0
    buffer.add([2], now=9.0)
    assert buffer.remaining_s(now=9.0) == 1.0


@given(st.lists(st.lists(st.integers()), max_size=10))
def test_nothing_is_lost_or_reordered(groups: list[list[int]]) -> None:
    buffer: BatchBuffer[int] = BatchBuffer(5, 1.0)
    for group in groups:
        buffer.add(group, now=0.0)
    assert buffer.take() == [item for group in groups for item in group]


@given(st.lists(st.binary().map(lambda line: line.replace(b"\n", b"").strip())))
def test_lines_keep_their_numbers(lines: list[bytes]) -> None:
    found = [(received.position, received.payload) for received in split_lines(b"\n".join(lines))]
    assert found == [(number, line) for number, line in enumerate(lines, start=1) if line]
