"""A listener's state as it is stored, and the script that writes it together with its event."""

import hashlib
import logging

import msgspec

from services.recommender.adapters.commit_spool import Commit
from services.recommender.core.decisions import Outcome
from services.recommender.core.sessions import UserState
from shared.event_stream import STREAM_KEY
from shared.events import Event, encode_event
from shared.redis_place import make_tags
from shared.sharded_stream import shard_key
from shared.tracing import current_traceparent

logger = logging.getLogger(__name__)

# A stored state begins with the id of the event that was written with it. One action: the state is
# the one that the decision saw, or nothing happens and the present state is the answer. What comes
# late is also written where nothing is, as a Redis that came back empty knows less than the commit,
# and over what is older by its UUIDv7's time, in 1/4096 ms: commits of several workers come in any
# order, some within a millisecond.
# A stranger's key of another type counts as none: it would hold up all that waits behind it.
# Moments are compared as numbers, for how strings compare depends on the server's locale.
_TAG = 16
COMMIT = """
local function moment(tag)
    local milliseconds = 0
    for i = 1, 6 do
        milliseconds = milliseconds * 256 + string.byte(tag, i)
    end
    return milliseconds * 4096 + string.byte(tag, 7) % 16 * 256 + string.byte(tag, 8)
end
local tag = redis.pcall('GETRANGE', KEYS[1], 0, 15)
if type(tag) == 'table' then
    redis.call('DEL', KEYS[1])
    tag = ''
end
local is_stale = false
if tag ~= ARGV[1] then
    if ARGV[6] == '' then
        return redis.call('GET', KEYS[1]) or ''
    end
    is_stale = #tag == 16 and moment(tag) >= moment(ARGV[2])
end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
elseif not is_stale then
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
redis.call('XADD', KEYS[2], '*', ARGV[4], ARGV[5], unpack(ARGV, 7))
return 1
"""

COMMIT_SHA = hashlib.sha1(COMMIT.encode()).hexdigest()  # noqa: S324 - Redis names scripts so

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decoder = msgspec.msgpack.Decoder(UserState)


def make_commit(user: int, before: bytes, outcome: Outcome, *, leaves_tag: bool = False) -> Commit:
    """Make the commit of an outcome that has an event.

    Args:
        user: Whose state it is.
        before: The stored state that was decided on; empty if there was none.
        outcome: What follows.
        leaves_tag: Whether a state of nothing is stored as such, and not deleted.
    """
    assert outcome.event is not None  # noqa: S101 - narrows for the type checker
    state = outcome.state or (UserState() if leaves_tag else None)
    after = b"" if state is None else encode_state(state, outcome.event)
    trace = current_traceparent() or ""
    return Commit(user, before[:_TAG], after, encode_event(outcome.event), trace)


def make_shards(n_shards: int) -> list[tuple[str, str]]:
    """Return, per shard, what a state's key begins with, and the key of the stream; 0: for all."""
    if not n_shards:
        return [("segue:session:", STREAM_KEY)]
    return [(f"segue:{{{tag}}}:session:", shard_key(tag)) for tag in make_tags(n_shards)]


def encode_state(state: UserState, event: Event) -> bytes:
    """Write a state as it is stored, tagged with the event that made it."""
    return event.event_id.bytes + _encode(state)


def decode_state(user: int, payload: bytes) -> UserState | None:
    """Read a stored state; None if there is none, or nothing that can be read."""
    if not payload:
        return None
    try:
        state = _decoder.decode(payload[_TAG:])
        return state if state.session or state.receipt else None
    except msgspec.MsgspecError as error:
        # Nobody is locked out by what an older release, or a stranger, left under the key.
        logger.warning("session of user %d cannot be read and starts anew: %s", user, error)
        return None
