"""A connection to a Ray cluster, for those who installed the extra `ray`."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from shared.extras import import_extra

_CONNECT_TIMEOUT_S = 5.0


class RayClusterError(RuntimeError):
    """A cluster that cannot be had, or that failed; the message says why in one line."""


@contextlib.contextmanager
def connect_ray(n_workers: int, address: str | None, *, purpose: str) -> Iterator[Any]:
    """Connect to a cluster, or start one; leave it as it was found.

    Args:
        n_workers: CPUs that it must have.
        address: Of the cluster; without one it is `RAY_ADDRESS`, or a cluster on this machine that
            ends with the block. A driver that is connected already stays so.
        purpose: What Ray is needed for, for the message.

    Yields:
        The package.

    Raises:
        MissingExtraError: If Ray is not installed.
        RayClusterError: If the cluster cannot be reached, is too small, or fails in the block.
    """
    ray: Any = import_extra("ray", extra="ray", purpose=purpose)
    try:
        with _connected(ray, n_workers, address):
            yield ray
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RayClusterError(f"the Ray cluster failed: {reason}") from error


@contextlib.contextmanager
def _connected(ray: Any, n_workers: int, address: str | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        ray.init(num_cpus=n_workers, include_dashboard=False, **quiet)
    else:
        _check_reachable(address)
        ray.init(address=address, **quiet)
    try:
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        if n_cpus < n_workers:
            raise RayClusterError(f"the Ray cluster has {n_cpus} CPUs for {n_workers} workers")
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """See that something listens there: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # a word of Ray's, as `auto`
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RayClusterError(f"no Ray cluster at {address}: {error.strerror or error}") from error
