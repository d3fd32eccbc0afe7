"""An answer is read the same in whatever pieces it comes, and what is none is said."""

import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.adapters.connection import Connection, Reply

ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": (200, b"hello", True),
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n": (200, b"", True),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, b"", True),
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno": (404, b"no", True),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: t\r\n\r\n": (200, b"hello", True),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": (200, b"hello", True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello": (
        *(200, b"hello"),
        False,
    ),
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello": (200, b"hello", False),
}
TOO_MUCH = "sends more than one answer, or more than its Content-Length says"
HEAD = b"HTTP/1.1 200 OK\r\n"


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def open_connection() -> tuple[Connection, FakeTransport]:
    connection = Connection(asyncio.get_running_loop())
    transport = FakeTransport()
    connection.connection_made(transport)
    return connection, transport


def cut(answer: bytes, places: set[int]) -> list[bytes]:
    ends = sorted({place for place in places if 0 < place < len(answer)} | {len(answer)})
    return [answer[i:j] for i, j in zip([0, *ends], ends, strict=False)]


def hear(*pieces: bytes, closes: bool = False) -> Reply:
    """Ask and hear some pieces."""

    async def run() -> Reply:
        connection, _ = open_connection()
        reply = connection.ask(b"?")
        for piece in pieces:
            connection.data_received(piece)
        if closes:
            connection.connection_lost(None)
        assert reply.done()
        return reply.result()

    return asyncio.run(run())


@given(
    answers=st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=3),
    places=st.sets(st.integers(1, 200)),
)
def test_answers_one_after_another_are_read_in_whatever_pieces(
    answers: list[bytes], places: set[int]
) -> None:
    async def run() -> None:
        connection, transport = open_connection()
        for n, answer in enumerate(answers):
            reply = connection.ask(b"request %d" % n)
            *first, last = cut(answer, places)
            for piece in first:
                connection.data_received(piece)
                assert not reply.done()
            connection.data_received(last)
            status, content, is_reusable = ANSWERS[answer]
            assert (reply.result().status, reply.result().content) == (status, content)
            assert connection.is_reusable == is_reusable
            if not is_reusable:
                break
            assert not transport.is_aborted
        assert transport.written == [b"request %d" % i for i in range(n + 1)]

    asyncio.run(run())


def test_headers_come_as_they_are_without_those_of_interim_answers() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    reply = hear(hints + HEAD + b"X-Two: 1\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n")
    assert reply.headers == [(b"X-Two", b"1"), (b"X-Two", b"2"), (b"Content-Length", b"0")]


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    assert hear(HEAD + b"\r\nhel", b"lo", closes=True).content == b"hello"


@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        ([], "without an answer"),
        ([b"HTTP/1.1 20"], "within its answer"),
        ([HEAD + b"X: y\r\n"], "within its answer"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "within its answer"),
        ([HEAD + b"Content-Length: 5\r\n\r\nhell"], "within its answer"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"], "within its answer"),
    ],
)
def test_a_connection_that_closes_too_early_is_a_fault(pieces: list[bytes], fault: str) -> None:
    with pytest.raises(httpx.ReadError, match=f"closed the connection {fault}"):
        hear(*pieces, closes=True)


@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        ([b"+PONG\r\n"], "does not speak HTTP: Expected HTTP/"),
        ([b"\x00\xff\xfe"], "does not speak HTTP"),
        ([b"<html>hello</html>"], "does not speak HTTP"),
        ([HEAD + b"no header\r\n\r\n"], "does not speak HTTP: Invalid header"),
        ([HEAD + b"Content-Length: -2\r\n\r\n"], "does not speak HTTP: .*Content-Length"),
        ([HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n"], "Content-Length"),
        ([HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"], "Content-Length"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nfive\r\nhello"], "does not speak HTTP"),
        ([HEAD + b"Content-Length: 2\r\n\r\nhello"], TOO_MUCH),
        ([HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nhello"], TOO_MUCH),
        ([2 * (HEAD + b"Content-Length: 0\r\n\r\n")], TOO_MUCH),
        (
            [b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
            "switches to another protocol",
        ),
        ([HEAD, *[b"X: %b\r\n" % (b"x" * 2**12)] * 17], "headers of more than 65,536 bytes"),
        ([HEAD + b"X: ", *[b"x" * 2**12] * 17], "headers of more than 65,536 bytes"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"] * 2_700, "headers of more than 65,536 bytes"),
        ([HEAD + b"Content-Length: 99999999\r\n\r\n", *[bytes(2**20)] * 16], "16,777,216 bytes"),
        ([HEAD + b"\r\n", *[bytes(2**20)] * 16], "16,777,216 bytes"),
    ],
)
def test_what_is_no_answer_is_said(pieces: list[bytes], fault: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match=fault):
        hear(*pieces)


def test_a_large_head_and_a_large_body_within_their_limits_are_read() -> None:
    head = HEAD + b"X: %b\r\nContent-Length: %d\r\n\r\n" % (b"x" * 60_000, 2**20)
    assert hear(head + bytes(2**20)).content == bytes(2**20)


async def test_what_comes_unasked_drops_the_connection() -> None:
    connection, transport = open_connection()
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert transport.is_aborted
    assert not connection.is_reusable


async def test_an_answer_that_nobody_waits_for_any_more_drops_the_connection() -> None:
    connection, transport = open_connection()
    connection.ask(b"?").cancel()
    connection.data_received(next(iter(ANSWERS)))
    assert transport.is_aborted


async def test_a_connection_that_is_closed_cannot_be_asked() -> None:
    connection, _ = open_connection()
    connection.drop()
    with pytest.raises(httpx.ReadError, match="closed the connection without an answer"):
        connection.ask(b"?")
