"""Messages and cavities equal what integrating, or leaving a playback out, gives."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from services.trainer.core.session.likelihood import CensoredLoss, differentiate, remove_own


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize(("mean", "variance", "bound"), [(0.3, 2.0, 1.1), (-3.0, 0.7, -4.0)])
def test_moment_matching_equals_numerical_integration(
    side: float, mean: float, variance: float, bound: float
) -> None:
    gradient, curvature, loss = differentiate(
        one(mean), one(variance), logit=one(bound), side=one(side)
    )
    density = norm(mean, np.sqrt(variance)).pdf
    ends = (bound, bound + 30) if side > 0 else (bound - 30, bound)
    mass, first, second = (
        quad(lambda z, k=k: z**k * density(z), *ends, points=[mean], limit=200)[0] for k in range(3)
    )
    assert float(loss) == pytest.approx(-np.log(mass), rel=1e-6)
    assert mean + variance * float(gradient) == pytest.approx(first / mass, rel=1e-6)
    matched = variance - variance**2 * float(curvature)
    assert matched == pytest.approx(second / mass - (first / mass) ** 2, rel=1e-5)


def test_a_known_logit_is_a_normal_observation() -> None:
    gradient, curvature, loss = differentiate(one(1.0), one(2.0), logit=one(4.0), side=one(0.0))
    assert float(gradient) == pytest.approx(1.5)
    assert float(curvature) == pytest.approx(0.5)
    assert float(loss) == pytest.approx(-norm(1.0, np.sqrt(2.0)).logpdf(4.0))


def test_the_gradient_of_the_loss_is_its_slope() -> None:
    rng = torch.Generator().manual_seed(0)
    predicted = (3 * torch.randn(12, generator=rng, dtype=torch.float64)).requires_grad_()
    logit = torch.randn(12, generator=rng, dtype=torch.float64)
    side = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64).repeat(4)
    variance = torch.rand(12, generator=rng, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(
        lambda x: CensoredLoss.apply(x, logit, side, variance), predicted
    )


def test_a_cavity_is_the_posterior_of_the_other_playbacks() -> None:
    rng = torch.Generator().manual_seed(1)
    n, d = 6, 4
    h = torch.randn(n, d, generator=rng, dtype=torch.float64)
    weight = torch.rand(n, generator=rng, dtype=torch.float64)
    target = torch.randn(n, generator=rng, dtype=torch.float64)

    def posterior(kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hw = h[kept] * weight[kept, None]
        covariance = torch.linalg.inv(2 * torch.eye(d, dtype=torch.float64) + hw.T @ h[kept])
        return covariance, covariance @ (hw.T @ target[kept])

    covariance, mean = posterior(torch.arange(n))
    means, variances = remove_own(
        (h @ covariance)[None], mean[None], design=h[None], weight=weight[None], target=target[None]
    )
    for i in range(n):
        expected, expected_mean = posterior(torch.arange(n)[torch.arange(n) != i])
        assert torch.allclose(means[0, i], expected_mean)
        assert torch.allclose(variances[0, i], h[i] @ expected @ h[i])
