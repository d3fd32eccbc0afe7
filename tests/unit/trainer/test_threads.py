"""Parts side by side: in order, in one thread each, and torch's number as it was."""

from collections.abc import Iterator

import pytest
import torch

from services.trainer.core.threads import run_side_by_side


@pytest.fixture(params=[1, 2])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_from_one_thread_each(n_threads: int) -> None:
    def look(part: int) -> tuple[int, int]:
        return part, torch.get_num_threads()

    assert run_side_by_side(look, range(20)) == [(part, 1) for part in range(20)]
    assert torch.get_num_threads() == n_threads


def test_a_part_that_fails_is_told(n_threads: int) -> None:
    with pytest.raises(ZeroDivisionError):
        run_side_by_side(lambda part: 1 // part, [1, 0])
    assert torch.get_num_threads() == n_threads
