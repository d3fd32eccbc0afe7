"""The slope and offset of every listener, by weighted regression."""

import torch
from torch import Tensor

from services.trainer.core.session.beliefs import OFFSET_MEAN, SLOPE_MEAN, Beliefs
from services.trainer.core.session.likelihood import differentiate

SLOPES = (0.3, 3.0)
SLOPE_VARIANCES = (0.05, 0.2)
MIN_OFFSET_VARIANCE = 0.5


def update_listeners(beliefs: Beliefs) -> None:
    """Regress the targets of each user's playbacks on <e, i>: y = s x - o.

    The mean slope is kept, as slopes and embeddings could otherwise trade scale for ever.
    """
    x, mean, variance = beliefs.predict()
    gradient, w, _ = differentiate(mean, variance, logit=beliefs.logit, side=beliefs.side)
    y = mean + gradient / w
    xx, x1, one, xy, y1 = (_sum(beliefs, v) for v in (w * x * x, w * x, w, w * x * y, w * y))
    p_slope, p_offset = 1 / beliefs.listener_variance
    m_slope, m_offset = beliefs.listener_mean
    a, b, d = xx + p_slope, -x1, one + p_offset  # the precision of (s, o)
    r1, r2 = xy + p_slope * m_slope, -y1 + p_offset * m_offset
    determinant = a * d - b * b
    slope = ((d * r1 - b * r2) / determinant).clamp(*SLOPES)
    beliefs.slope = slope * (SLOPE_MEAN / slope.mean())
    beliefs.offset = (r2 - b * beliefs.slope) / d  # of that slope, not of the one before
    beliefs.listener_covariance = torch.stack([d, -b, a], 1) / determinant[:, None]
    _update_population(beliefs)


def _update_population(beliefs: Beliefs) -> None:
    """Set the prior of the next regression, and of unknown users."""
    slope, offset, cov = beliefs.slope, beliefs.offset, beliefs.listener_covariance
    slope_variance = slope.var(correction=0) + cov[:, 0].mean()
    offset_variance = offset.var(correction=0) + cov[:, 2].mean()
    mean = float(offset.mean()) if len(offset) else OFFSET_MEAN
    beliefs.listener_mean = torch.tensor([SLOPE_MEAN, mean])
    beliefs.listener_variance = torch.stack(
        [slope_variance.clamp(*SLOPE_VARIANCES), offset_variance.clamp(min=MIN_OFFSET_VARIANCE)]
    )


def _sum(beliefs: Beliefs, values: Tensor) -> Tensor:
    return torch.zeros(beliefs.plays.n_users).index_add_(0, beliefs.user_of, values)
