"""From a log of playbacks to what the beliefs read: logits, or bounds that logits lie beyond."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.core.errors import TrainingError
from services.trainer.core.held_out import count_earlier
from services.trainer.core.pairs import MIN_USERS, check_known
from services.trainer.core.playbacks import FloatArray, IntArray, PlaybackLog
from services.trainer.core.session.discount import HALF_STEP, estimate_gamma
from shared.catalog import Catalog

MIN_DISCOUNT = 0.05  # below it the rounding hides the taste
LARGEST_LOGIT_SHARE = 1e-4  # a time closer than this to a bound says no more than that

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plays:
    """One entry per playback that tells of taste, and the sessions they are of.

    Attributes:
        session, user, track: Rows, int64 (n_plays,); track is a catalogue row.
        logit: Of the time without the discount, or the bound that it lies beyond.
        rounding: Variance of the logit from the rounding of the time.
        side: 0 where the logit is known, -1 where it lies below the bound, 1 where above.
        first: Catalogue row of each session's first track, (n_sessions,).
        session_user: Row of each session's user, (n_sessions,).
        user_ids: Id per row of a user, (n_users,).
        gamma: Factor on the time per earlier track of the same artist.
    """

    session: Index
    user: Index
    track: Index
    logit: FloatArray
    rounding: FloatArray
    side: FloatArray
    first: Index
    session_user: Index
    user_ids: IntArray
    gamma: float

    def __len__(self) -> int:
        return len(self.logit)

    @property
    def n_users(self) -> int:
        """Number of listeners."""
        return len(self.user_ids)


def prepare_plays(log: PlaybackLog, catalog: Catalog) -> Plays:
    """Drop what says nothing of taste: first tracks, repeats, plays discounted to near nothing.

    Raises:
        TrainingError: If the log is of another catalogue, or nothing can be learnt from it.
    """
    rows = catalog.rows_of(log.tracks)
    check_known(rows >= 0)
    if log.n_users < MIN_USERS:
        raise TrainingError("playbacks of one user only: nothing holds beyond that user")
    starts = np.flatnonzero(np.diff(log.sessions, prepend=-1))
    has_head = (log.positions[starts] == 0) & (rows[starts] >= 0)
    if not has_head.any():
        raise TrainingError("no session has a known first track")
    number = np.cumsum(has_head) - 1  # of a session among those with a head
    user_ids, session_user = np.unique(log.users[starts[has_head]], return_inverse=True)
    chosen = np.flatnonzero((rows >= 0) & has_head[log.sessions])
    session, track = number[log.sessions[chosen]], rows[chosen].astype(np.int64)
    time, is_later = log.times[chosen].astype(np.float64), log.positions[chosen] > 0
    n_earlier = count_earlier(session, catalog.artist_rows[track])
    is_new = count_earlier(session, track) == 0
    tells = is_later & is_new
    gamma = estimate_gamma(time[tells], n_earlier[tells])
    discount = gamma ** n_earlier.astype(np.float64)
    kept = tells & (discount > MIN_DISCOUNT)
    logit, rounding, side = observe(time[kept], discount[kept])
    _check_informative(side)
    return Plays(
        session=session[kept],
        user=session_user[session[kept]],
        track=track[kept],
        logit=logit.astype(np.float32),
        rounding=rounding.astype(np.float32),
        side=side.astype(np.float32),
        first=rows[starts[has_head]].astype(np.int64),
        session_user=session_user,
        user_ids=user_ids.astype(np.int32),
        gamma=gamma,
    )


def observe(
    time: Float64Array, discount: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Turn times into logits.

    With g the discount, z = logit(time / g). Rounding moves time by a uniform error of at most
    h = 0.005 and so z by one of variance (h / (g p (1 - p)))^2 / 3. A time within h of 0 only tells
    that z lies below logit(h / g); one within h of g, that it lies above logit((time - h) / g), or
    logit(1 - h / g) if that is lower: it holds though gamma be a little off.

    Returns:
        Logit or bound, variance from rounding, and side as in `Plays`.
    """
    low, high = time < HALF_STEP, time > discount - HALF_STEP
    share = np.clip(time / discount, LARGEST_LOGIT_SHARE, 1 - LARGEST_LOGIT_SHARE)
    share = np.where(high, (np.minimum(time, discount) - HALF_STEP) / discount, share)
    share = np.where(low, np.minimum(HALF_STEP / discount, 0.5), share)
    rounding = (HALF_STEP / discount / (share * (1 - share))) ** 2 / 3
    side = np.where(low, -1.0, np.where(high, 1.0, 0.0))
    return np.log(share / (1 - share)), rounding, side


def _check_informative(side: Float64Array) -> None:
    if len(side) == 0:
        raise TrainingError("no session has a known first track and another after it")
    if (side != 0).all():
        raise TrainingError(
            "every playback was heard in full or not at all: nothing tells how much is liked"
        )
