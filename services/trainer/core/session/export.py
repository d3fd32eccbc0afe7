"""From beliefs to the arrays and metrics of a model version."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.trainer.core.session.beliefs import Beliefs

AnyArray = npt.NDArray[Any]


def export_arrays(beliefs: Beliefs) -> dict[str, AnyArray]:
    """Return the arrays that a session recommender reads; `ModelVersion` documents them."""
    start, covariance = derive_start(beliefs)
    ones = torch.ones(beliefs.n_tracks, 1)
    arrays: Mapping[str, Tensor] = {
        "track_embedding": beliefs.track,
        "context_embedding": torch.cat([beliefs.track, ones], 1) @ start,
        "track_variance": beliefs.track_variance,
        "session_start": start,
        "session_covariance": covariance,
        "session_constants": torch.tensor([beliefs.plays.gamma, beliefs.prior.noise]),
        "user_listener": _export_listeners(beliefs),
        "interest_embedding": beliefs.interest,
        "interest_variance": beliefs.interest_diagonal,
    }
    exported = {name: np.ascontiguousarray(a.float().numpy()) for name, a in arrays.items()}
    owner = np.zeros(beliefs.n_interests, dtype=np.int32)
    owner[beliefs.interest_of_session.numpy()] = beliefs.plays.session_user
    return exported | {"user_ids": beliefs.plays.user_ids, "interest_users": owner}


def derive_start(beliefs: Beliefs) -> tuple[Tensor, Tensor]:
    """Derive what a first track tells of a new interest.

    i ~ N(m, y I) and e_f ~ N(c + mu i, (n + t) I), with t the mean uncertainty of a coordinate of a
    first track, give i | e_f ~ N(m + k (e_f - c - mu m), (1 - k mu) y I) for
    k = mu y / (mu^2 y + n + t).

    Returns:
        The affine map from (e_f, 1) to the mean, (d + 1, d), and the covariance, (d, d).
    """
    mu, y, n = beliefs.prior.follow, beliefs.scale("interest"), beliefs.scale("first")
    t = float(beliefs.track_trace[beliefs.first].mean()) / beliefs.dim
    k = mu * y / (mu**2 * y + n + t)
    eye = torch.eye(beliefs.dim)
    intercept = (1 - k * mu) * beliefs.interest_centre - k * beliefs.first_centre
    return torch.cat([k * eye, intercept[None]]), (1 - k * mu) * y * eye


def measure_beliefs(beliefs: Beliefs) -> dict[str, float]:
    """Measure how well each playback is predicted from all the others.

    Returns:
        `leave_one_out_correlation` of logits that are known; `leave_one_out_mse` and
        `leave_one_out_baseline_mse` of the share heard, undiscounted, the baseline being the mean;
        `gamma`.
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
