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
from services.recommender.core.taste_model import FloatArray, TasteModel

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
    pull = interests.around @ anchor - 1 / interests.prior_variance * interests.prior_mean
    # A new interest first, then those of earlier sessions: one call for all their matrices.
    past = _WIDENING * interests.variance[begin:end]
    variance = np.vstack([interests.prior_variance, np.minimum(past, interests.prior_variance)])
    mean = np.vstack([interests.prior_mean, interests.mean[begin:end]])
    evidence, explained = _explain(mean, variance, interests.message, pull)
    evidence[0] += np.log(max(_MAX_INTERESTS - (end - begin), _LEAST_NEW))
    best = int(evidence.argmax())
    return explained[best] if best else new


def _explain(
    mean: FloatArray, variance: FloatArray, message: FloatArray, pull: FloatArray
) -> tuple[FloatArray, list[Belief]]:
    """Return the evidence of each N(mean, diag variance) for a message, and the posteriors.

    Args:
        mean, variance: Shape (n, d).
        message: Precision, shape (d, d).
        pull: Shape (d,).
    """
    n, d = mean.shape
    precision = np.tile(message, (n, 1, 1))
    precision[:, range(d), range(d)] += 1 / variance
    covariance: FloatArray = np.linalg.inv(precision).astype(np.float64)
    h = mean / variance + pull
    posterior = np.einsum("nij,nj->ni", covariance, h)
    before = (mean * mean / variance + np.log(variance)).sum(axis=1)
    after = (h * posterior).sum(axis=1) - np.linalg.slogdet(precision)[1]
    beliefs = [Belief(posterior[k], covariance[k]) for k in range(n)]
    return (after - before) / 2, beliefs
