"""The spool keeps commits in order, through crashes, and never beyond its size."""

import contextlib
import resource
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from services.recommender.adapters.commit_spool import Commit, CommitSpool, SpoolFullError


def make_commit(n: int) -> Commit:
    return Commit(user=n % 3, before=b"b" * 16, after=b"a%d" % n, event=b"e%d" % n)


Opener = Callable[..., CommitSpool]


@pytest.fixture
def open_spool() -> Iterator[Opener]:
    with contextlib.ExitStack() as stack:

        def open_(folder: Path, max_bytes: int = 10_000) -> CommitSpool:
            spool = CommitSpool(folder, max_bytes=max_bytes)
            stack.callback(spool.close)
            return spool

        yield open_


def drain(spool: CommitSpool) -> list[Commit]:
    drained = []
    while len(spool):
        some = spool.first(2)
        drained += some
        spool.drop_first(len(some))
    return drained


def test_commits_come_out_in_order(open_spool: Opener, tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for n in range(5):
        spool.append(make_commit(n))
    assert spool.users() == {0: b"a3", 1: b"a4", 2: b"a2"}
    assert drain(spool) == [make_commit(n) for n in range(5)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_another_process_finds_what_a_dead_one_left(open_spool: Opener, tmp_path: Path) -> None:
    dead = open_spool(tmp_path)
    for n in range(3):
        dead.append(make_commit(n))
    dead.close()
    spool = open_spool(tmp_path)
    spool.append(make_commit(3))
    assert drain(spool) == [make_commit(n) for n in range(4)]


def test_two_processes_have_files_of_their_own_and_inherit(
    open_spool: Opener, tmp_path: Path
) -> None:
    first, second = open_spool(tmp_path), open_spool(tmp_path)
    first.append(make_commit(1))
    second.append(make_commit(2))
    second.close()
    third = open_spool(tmp_path)
    assert drain(third) == [make_commit(2)]
    first.close()
    third.close()
    assert drain(open_spool(tmp_path)) == [make_commit(1)]


def test_a_commit_of_a_higher_file_is_adopted(open_spool: Opener, tmp_path: Path) -> None:
    first, second = open_spool(tmp_path), open_spool(tmp_path)
    second.append(make_commit(2))
    first.close()
    second.close()
    assert drain(open_spool(tmp_path)) == [make_commit(2)]
    assert [path.name for path in tmp_path.iterdir()] == ["0.spool"]


def test_a_living_process_takes_over_what_another_leaves(
    open_spool: Opener, tmp_path: Path
) -> None:
    living, dying = open_spool(tmp_path), open_spool(tmp_path)
    dying.append(make_commit(1))
    assert living.adopt_left() == {}
    dying.close()
    assert living.adopt_left() == {1: b"a1"}
    assert drain(living) == [make_commit(1)]
    assert [path.name for path in tmp_path.iterdir()] == ["0.spool"]


@pytest.mark.parametrize("cut", [1, 9, 20])
def test_a_torn_record_is_dropped_and_written_over(
    open_spool: Opener, tmp_path: Path, cut: int
) -> None:
    dead = open_spool(tmp_path)
    for n in range(2):
        dead.append(make_commit(n))
    dead.close()
    file = tmp_path / "0.spool"
    file.write_bytes(file.read_bytes()[:-cut])
    spool = open_spool(tmp_path)
    spool.append(make_commit(7))
    spool.close()
    assert drain(open_spool(tmp_path)) == [make_commit(0), make_commit(7)]


def test_a_damaged_record_ends_what_is_believed(open_spool: Opener, tmp_path: Path) -> None:
    dead = open_spool(tmp_path)
    dead.append(make_commit(0))
    dead.append(make_commit(1))
    dead.close()
    file = tmp_path / "0.spool"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    assert drain(open_spool(tmp_path)) == [make_commit(0)]


def test_a_full_spool_takes_no_more_and_loses_nothing(open_spool: Opener, tmp_path: Path) -> None:
    spool = open_spool(tmp_path, max_bytes=60)
    for n in range(2):
        spool.append(make_commit(n))
    with pytest.raises(SpoolFullError, match="2 commits wait already"):
        spool.append(make_commit(2))
    assert drain(spool) == [make_commit(n) for n in range(2)]
    spool.append(make_commit(9))
    assert drain(spool) == [make_commit(9)]


def test_records_of_another_length_are_followed_by_ours(open_spool: Opener, tmp_path: Path) -> None:
    payload = msgspec.msgpack.encode((1, b"b" * 16, b"a", b"e"))  # of a release without traces
    head = len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big")
    (tmp_path / "0.spool").write_bytes(head + payload)
    spool = open_spool(tmp_path)
    spool.append(make_commit(7))
    spool.close()
    assert drain(open_spool(tmp_path)) == [Commit(1, b"b" * 16, b"a", b"e"), make_commit(7)]


def test_what_a_dead_process_left_waits_for_room_on_the_disk(
    open_spool: Opener, tmp_path: Path
) -> None:
    living, dying = open_spool(tmp_path), open_spool(tmp_path)
    living.append(make_commit(0))
    for n in range(1, 4):
        dying.append(make_commit(n))
    dying.close()
    with largest_file(2 * living.n_bytes + 5):
        assert living.adopt_left() == {}
    assert living.first(5) == [make_commit(0)]
    assert living.adopt_left() == {0: b"a3", 1: b"a1", 2: b"a2"}
    assert drain(living) == [make_commit(n) for n in range(4)]


@contextlib.contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Let no file of this process become larger: that looks like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
