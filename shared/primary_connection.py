"""A redis-py connection that leaves a server which is no primary any more.

The address may be another server's by then; redis-py itself does so where it asks a sentinel.
"""

from typing import Any, ClassVar

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError

DEMOTED = (ReadOnlyError, MasterDownError)


class PrimaryConnection(Connection):  # type: ignore[misc]  # redis-py is Any here
    """Takes an answer that only a replica gives for a lost connection."""

    elsewhere: ClassVar[tuple[type[RedisError], ...]] = DEMOTED

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer; one that says that another server has the keys is a lost connection."""
        try:
            return await super().read_response(*arguments, **options)
        except self.elsewhere as error:
            await self.disconnect()
            raise RedisConnectionError(f"{type(error).__name__}: {error}") from error


class PrimarySSLConnection(PrimaryConnection, SSLConnection):  # type: ignore[misc]
    """The same over TLS."""
