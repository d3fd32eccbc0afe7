"""Where a session's taste starts: its first track, its listener, and the listener's past interests.

A first track f tells of the interest i its anchor N(b_f, W): the prior N(m, Y) and a message of
precision T = W^-1 - Y^-1 and pull t = W^-1 b_f - Y^-1 m. An interest N(i_k, V_k) of an earlier
session takes the same message to N(P^-1 h, P^-1) with P = V_k^-1 + T, h = V_k^-1 i_k + t. It
explains the message with the evidence

    log Z(P, h) - log Z(V_k^-1, V_k^-1 i_k),   log Z(P, h) = (h' P^-1 h - log |P|) / 2

and the session starts from the best of a user's interests and a new one, which counts as often as
the user may have interests that no session has shown.
"""

from typing import NamedTuple

import numpy as np

from services.recommender.core.session_taste import Taste
from services.recommender.core.taste_model import FloatArray, Interests, TasteModel

_WIDENING = 2.0  # of a remembered interest's variance: the past is believed too surely
_MAX_INTERESTS = 3  # of a user, as training groups sessions
_LEAST_NEW = 0.3  # interests that a user may have beyond that: sessions are grouped by guess


class Belief(NamedTuple):
    """A normal belief about an interest: mean (d,) and covariance (d, d)."""

    mean: FloatArray
    covariance: FloatArray


def start(model: TasteModel, *, user: int, first: int) -> Taste:
    """Begin a session: what its first track and its listener say.

    Source: for independent (s, o) and i, cov(s i, o) = cov(s, o) E[i], and
    cov(s i) = E[s^2] cov(i) + var(s) E[i] E[i]'.
    """
    row = model.listener_rows.get(user, -1)
    slope, offset, var_slope, cov_both, var_offset = model.listeners[row].tolist()
    interest = recall(model, row=row, first=first)
    d = len(interest.mean)
    mean = np.append(slope * interest.mean, offset)
    covariance = np.empty((d + 1, d + 1))
    covariance[:d, :d] = (slope**2 + var_slope) * interest.covariance
    covariance[:d, :d] += var_slope * np.outer(interest.mean, interest.mean)
    covariance[:d, d] = covariance[d, :d] = cov_both * interest.mean
    covariance[d, d] = var_offset
    symmetric = (covariance + covariance.T) / 2
    return Taste(mean.astype(np.float32), symmetric.astype(np.float32))


def recall(model: TasteModel, *, row: int, first: int) -> Belief:
    """Believe of a session's interest what its first track says, and a past one if it fits better.

    Args:
        model: Of the session.
        row: Of the listener; -1 for an unknown one.
        first: Row of the first track.
    """
    anchor = model.anchors[first].astype(np.float64)
    new = Belief(anchor, model.covariance)
    interests = model.interests
    begin, end = interests.begin[row : row + 2].tolist() if row >= 0 else (0, 0)
    if begin == end:
        return new
    prior = 1 / interests.prior_variance
    around: FloatArray = np.linalg.inv(model.covariance).astype(np.float64)
    message: FloatArray = around - np.diag(prior)
    pull = around @ anchor - prior * interests.prior_mean
    best = _explain(interests.prior_mean, interests.prior_variance, message, pull)[0]
    best += np.log(max(_MAX_INTERESTS - (end - begin), _LEAST_NEW))
    chosen = new
    for k in range(begin, end):
        evidence, belief = _explain_past(interests, k, message=message, pull=pull)
        if evidence > best:
            best, chosen = evidence, belief
    return chosen


def _explain_past(
    interests: Interests, k: int, *, message: FloatArray, pull: FloatArray
) -> tuple[float, Belief]:
    variance = np.minimum(_WIDENING * interests.variance[k], interests.prior_variance)
    return _explain(interests.mean[k].astype(np.float64), variance, message, pull)


def _explain(
    mean: FloatArray, variance: FloatArray, message: FloatArray, pull: FloatArray
) -> tuple[float, Belief]:
    """Return the evidence of N(mean, diag variance) for a message, and the posterior."""
    precision = message + np.diag(1 / variance)
    covariance: FloatArray = np.linalg.inv(precision).astype(np.float64)
    h = mean / variance + pull
    posterior = covariance @ h
    before = float(mean @ (mean / variance) + np.log(variance).sum())
    after = float(h @ posterior) - float(np.linalg.slogdet(precision)[1])
    return (after - before) / 2, Belief(posterior, covariance)
