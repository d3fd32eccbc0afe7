"""Both forms of a block's covariances are the inverse of its precisions."""

import pytest
import torch

from services.trainer.core.session.covariances import (
    INVERT_BLOCK,
    Covariances,
    Dense,
    LowRank,
    invert_,
    make_covariances,
)

D, B = 8, 3


@pytest.fixture(params=[(1, LowRank), (4, LowRank), (5, Dense), (20, Dense)])
def made(request: pytest.FixtureRequest) -> tuple[Covariances, torch.Tensor]:
    n, form = request.param
    rng = torch.Generator().manual_seed(n)
    design = torch.randn(B, n, D, generator=rng, dtype=torch.float64)
    weight = torch.rand(B, n, generator=rng, dtype=torch.float64)
    weight[0, 0] = 0.0
    precision = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64)
    covariances = make_covariances(precision, design, weight)
    assert isinstance(covariances, form)
    told = design.transpose(1, 2) @ (design * weight[..., None])
    eye = torch.eye(D, dtype=torch.float64)
    return covariances, torch.linalg.inv(told + precision[:, None, None] * eye)


def symmetric(*shape: int) -> torch.Tensor:
    half = torch.randn(*shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return half + half.transpose(-1, -2)


def test_entries_are_the_inverse(made: tuple[Covariances, torch.Tensor]) -> None:
    covariances, expected = made
    rows = torch.randn(B, 2, D, dtype=torch.float64)
    assert torch.allclose(covariances.dense(), expected)
    assert torch.allclose(covariances.apply(rows), rows @ expected)
    assert torch.allclose(covariances.diagonal(), expected.diagonal(dim1=1, dim2=2))
    assert torch.allclose(covariances.total(), expected.sum(0))


def test_traces_are_those_of_the_inverse(made: tuple[Covariances, torch.Tensor]) -> None:
    covariances, expected = made
    inner, metric = symmetric(B, D, D), symmetric(D, D)
    around = torch.stack(
        [(v @ n @ v @ metric).trace() for v, n in zip(expected, inner, strict=True)]
    )
    alone = torch.stack([(v @ metric).trace() for v in expected])
    assert torch.allclose(covariances.trace_with(metric), alone)
    assert torch.allclose(covariances.trace_around(inner, metric), around)


def test_inverting_in_place_does_every_matrix() -> None:
    matrices = torch.randn(INVERT_BLOCK + 3, D, D, dtype=torch.float64)
    matrices = matrices @ matrices.transpose(1, 2) + torch.eye(D, dtype=torch.float64)
    expected = torch.linalg.inv(matrices)
    invert_(matrices)
    assert torch.allclose(matrices, expected)
