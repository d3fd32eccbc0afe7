"""Keyed randomness: every draw is a pure function of (seed, episode, position, purpose).

A draw is a chain of SplitMix64 finalisers over its key, so it needs no generator, no state and no
order: a batch of a thousand episodes and one live episode read the same numbers, bit for bit. One
function serves Python integers (one episode) and uint64 arrays (a batch).

`numpy.random.SeedSequence(seed, episode)` would give the same independence, at about 20 us a
generator; docs/adr/0006-keyed-randomness.md says why it is not used here.

Source: Steele, Lea and Flood (2014), Fast Splittable Pseudorandom Number Generators.
"""

import enum
from typing import Any, overload

import numpy as np
import numpy.typing as npt

KeyArray = npt.NDArray[np.uint64]
FloatArray = npt.NDArray[np.float64]

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_UNIT = 2.0**-53


class Purpose(enum.IntEnum):
    """What a draw decides; two purposes never share a number."""

    USER = 0
    INTEREST = 1
    FIRST_TRACK = 2
    PATIENCE = 3
    RECOMMENDER = 4
    START = 5
    ARRIVAL = 6
    CHOICE = 16  # attempt i of a rejection sampler is CHOICE + i


@overload
def mix(value: int) -> int: ...
@overload
def mix(value: KeyArray) -> KeyArray: ...
def mix(value: Any) -> Any:
    """Scramble 64 bits, one to one."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def episode_key(seed: int, episode: int) -> int:
    """Key of one episode."""
    return mix((mix(seed & _MASK) + _GOLDEN * (episode + 1)) & _MASK)


def episode_keys(seed: int | KeyArray, episodes: npt.NDArray[np.int64]) -> KeyArray:
    """Keys of many episodes, of one seed or a seed each, shape as `episodes`."""
    masked: Any = seed & _MASK
    keys: KeyArray = mix(masked) + (episodes.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    return mix(keys)


@overload
def draw_uniform(key: int, position: int, purpose: int) -> float: ...
@overload
def draw_uniform(key: KeyArray, position: int | KeyArray, purpose: int) -> FloatArray: ...
def draw_uniform(key: Any, position: Any, purpose: int) -> Any:
    """Draw from [0, 1), with 53 random bits.

    Args:
        key: Of the episode or episodes.
        position: Of the playback that the draw belongs to, of all episodes or of each.
        purpose: What it decides.
    """
    return (draw_bits(key, position, purpose) >> 11) * _UNIT


@overload
def draw_bits(key: int, position: int, purpose: int) -> int: ...
@overload
def draw_bits(key: KeyArray, position: int | KeyArray, purpose: int) -> KeyArray: ...
def draw_bits(key: Any, position: Any, purpose: int) -> Any:
    """Draw 64 bits."""
    at_position = mix((key + (_GOLDEN * (position + 1) & _MASK)) & _MASK)
    return mix((at_position + (_GOLDEN * (int(purpose) + 1) & _MASK)) & _MASK)
