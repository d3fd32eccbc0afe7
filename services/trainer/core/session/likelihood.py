"""What one playback tells of its logit, and the messages and cavities that follow."""

import math
from typing import Any

import torch
from torch import Tensor

MAX_ALPHA = 8.0  # beyond it the density of a normal is nothing
MIN_CURVATURE = 1e-4  # of a saturated playback's log likelihood, times the variance
MAX_SHARE = 0.95  # of a posterior's precision that may come from one playback
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def mills(alpha: Tensor) -> Tensor:
    """Return phi / Phi at alpha, where phi and Phi are the normal's density and distribution."""
    alpha = alpha.clamp(-MAX_ALPHA, MAX_ALPHA)
    ratio: Tensor = math.sqrt(2 / math.pi) / torch.special.erfcx(-alpha / math.sqrt(2))
    return ratio


def differentiate(
    mean: Tensor, variance: Tensor, *, logit: Tensor, side: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiate the log likelihood of playbacks by the mean of the predicted logit.

    Known logit z: N(z; mean, variance). Else, with alpha = side (mean - z) / sd and
    r = phi / Phi at alpha, the likelihood is Phi(alpha), its gradient side r / sd and its curvature
    r (r + alpha) / variance: a normal restricted to the side of z has mean + variance * gradient
    as mean and variance - variance^2 * curvature as variance (moment matching).

    Returns:
        Gradient, curvature (minus the second derivative), negative log likelihood, all (n,).

    Source: Minka (2001), Expectation Propagation; Tobin (1958).
    """
    sd = variance.sqrt()
    alpha = side * (mean - logit) / sd
    ratio = mills(alpha)
    is_known = side == 0
    gradient = torch.where(is_known, (logit - mean) / variance, side * ratio / sd)
    bent = ratio * (ratio + alpha.clamp(-MAX_ALPHA, MAX_ALPHA))
    curvature = torch.where(is_known, 1.0, bent.clamp(MIN_CURVATURE, 1.0)) / variance
    known_loss = 0.5 * ((logit - mean) ** 2 / variance + variance.log()) + HALF_LOG_2PI
    loss = torch.where(is_known, known_loss, -torch.special.log_ndtr(alpha))
    return gradient, curvature, loss


def remove_own(
    moved: Tensor, mean: Tensor, *, design: Tensor, weight: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Remove each playback from the posterior that it helped to make: the cavity.

    With q = h' V h and r = target - h' m, the posterior without the message (w, target) along h is
    m - V h w r / (1 - w q), and the variance of h' x under it q / (1 - w q).

    Args:
        moved: V h per playback, (b, n, d).
        mean: m, (b, d).
        design: h per playback, (b, n, d).
        weight: w, its message's precision, (b, n).
        target: (b, n).

    Returns:
        Means without each playback, (b, n, d), and variances along h, (b, n).
    """
    own = (moved * design).sum(2)
    left = 1 - (weight * own).clamp(max=MAX_SHARE)
    residual = target - (design @ mean[..., None])[..., 0]
    step = weight * residual / left
    return mean[:, None] - moved * step[..., None], own / left


class CensoredLoss(torch.autograd.Function):
    """The negative log likelihood of `differentiate`, up to a constant, with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, predicted: Tensor, logit: Tensor, side: Tensor, variance: Tensor
    ) -> Tensor:
        """Return the loss per playback, (n,)."""
        gradient, _, _ = differentiate(predicted, variance, logit=logit, side=side)
        ctx.save_for_backward(-gradient)
        alpha = side * (predicted - logit) / variance.sqrt()
        squared = 0.5 * (predicted - logit) ** 2 / variance
        return torch.where(side == 0, squared, -torch.special.log_ndtr(alpha))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient by the prediction."""
        (gradient,) = ctx.saved_tensors
        return outer[0] * gradient, None, None, None
