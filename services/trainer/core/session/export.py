"""From beliefs to the arrays and metrics of a model version."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.trainer.core.session.anchors import derive_anchors
from services.trainer.core.session.beliefs import Beliefs

AnyArray = npt.NDArray[Any]

# What is recommended is the best of thousands, often for its error: it varies more than what the
# log played. Measured in play on one world, together with the excess: 1 was worse.
SELECTED = 2.0


def export_arrays(beliefs: Beliefs) -> dict[str, AnyArray]:
    """Return the arrays that a session recommender reads; `ModelVersion` documents them."""
    anchors = derive_anchors(beliefs)
    around = anchors.variance[beliefs.first].mean() * torch.eye(beliefs.dim)
    variance = torch.full((beliefs.dim,), beliefs.scale("interest"))
    arrays: Mapping[str, Tensor] = {
        "track_embedding": beliefs.track,
        "context_embedding": anchors.mean,
        "track_variance": beliefs.track_variance * (SELECTED * measure_excess(beliefs)),
        "session_covariance": around,
        "interest_prior": torch.stack([beliefs.interest_centre, variance]),
        "session_constants": torch.tensor([beliefs.plays.gamma, beliefs.prior.noise]),
        "user_listener": _export_listeners(beliefs),
        "interest_embedding": beliefs.interest,
        "interest_variance": beliefs.interest_diagonal,
    }
    exported = {name: np.ascontiguousarray(a.float().numpy()) for name, a in arrays.items()}
    owner = np.zeros(beliefs.n_interests, dtype=np.int32)
    owner[beliefs.interest_of_session.numpy()] = beliefs.plays.session_user
    return exported | {"user_ids": beliefs.plays.user_ids, "interest_users": owner}


def measure_excess(beliefs: Beliefs) -> float:
    """Measure how much more than believed the logits vary, playbacks known exactly.

    Messages that went around a loop count more than once, so that beliefs are too sure; what is
    left out of each prediction tells by how much.

    Returns:
        Mean squared error beyond rounding and noise, to the variance believed; at least 1.
    """
    _, mean, variance = beliefs.predict()
    is_known = beliefs.side == 0
    given = (beliefs.rounding + beliefs.prior.noise)[is_known]
    error = (mean - beliefs.logit)[is_known] ** 2 - given
    believed = (variance[is_known] - given).clamp(min=0).double().sum()
    return max(1.0, float(error.double().sum() / believed)) if believed > 0 else 1.0


def measure_beliefs(beliefs: Beliefs) -> dict[str, float]:
    """Measure how well each playback is predicted from all the others.

    Returns:
        `leave_one_out_correlation` of logits that are known; `leave_one_out_mse` and
        `leave_one_out_baseline_mse` of the share heard, undiscounted, the baseline being the mean;
        `variance_excess` as `measure_excess`; `gamma`.
    """
    _, mean, variance = beliefs.predict()
    is_known = beliefs.side == 0
    spread = variance - beliefs.rounding
    predicted = torch.sigmoid(mean / torch.sqrt(1 + torch.pi / 8 * spread))
    heard = torch.sigmoid(beliefs.logit)
    both = torch.stack([mean[is_known], beliefs.logit[is_known]]).double()
    metrics = {
        "leave_one_out_mse": float(((predicted - heard).double() ** 2).mean()),
        "leave_one_out_baseline_mse": float(heard.double().var(correction=0)),
        "gamma": beliefs.plays.gamma,
        "variance_excess": measure_excess(beliefs),
        "n_interests": float(beliefs.n_interests),
    }
    if bool((both.var(1, correction=0) > 0).all()) and both.shape[1] > 1:
        metrics["leave_one_out_correlation"] = float(torch.corrcoef(both)[0, 1])
    return metrics


def _export_listeners(beliefs: Beliefs) -> Tensor:
    """Return each user's (s, o) and their covariance, and the population's as the last row."""
    known = torch.stack([beliefs.slope, beliefs.offset], 1)
    mean, variance = beliefs.listener_mean, beliefs.listener_variance
    unknown = torch.tensor([[mean[0], mean[1], variance[0], 0.0, variance[1]]])
    return torch.cat([torch.cat([known, beliefs.listener_covariance], 1), unknown])
