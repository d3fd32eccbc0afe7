"""Arrays as bytes, in numpy's own format: nothing is ever unpickled."""

import io
import math
import tokenize
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]

# What numpy raises for bytes that are no array: it reads the header as Python reads a literal.
NO_ARRAY = (ValueError, EOFError, SyntaxError, tokenize.TokenError)


def to_npy(array: AnyArray) -> bytes:
    """Write an array."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def from_npy(payload: bytes) -> AnyArray:
    """Read an array; one that says it is larger than it is gets no memory.

    Raises:
        ValueError: If it is none.
    """
    buffer = io.BytesIO(payload)
    try:
        version = np.lib.format.read_magic(buffer)
        read_header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read_header = np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(buffer)
        if math.prod(shape) * dtype.itemsize != len(payload) - buffer.tell():
            raise ValueError(f"its header says shape {shape} of {dtype}")
        array: AnyArray = np.load(io.BytesIO(payload), allow_pickle=False)
    except NO_ARRAY as error:
        raise ValueError(str(error)) from error
    return array
