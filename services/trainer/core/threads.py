"""Independent parts of a step, side by side.

Steps are made of thousands of small operations, which two threads of one operation do no sooner
than one: each part is done by one thread alone, so that the bits do not depend on their number.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def run_side_by_side(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Call a function of each part, in as many threads as torch has; return results in order."""
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        return [function(part) for part in parts]
    try:
        # torch lets every thread choose for itself, and new ones begin as the last that chose.
        with ThreadPoolExecutor(
            n_threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(n_threads)
