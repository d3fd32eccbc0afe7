"""TLS in front of a server that was built without it, with a certificate made for the test."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

_POSTGRES_SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # asked for before TLS begins


class Authority:
    """A certificate for 127.0.0.1 that is its own authority.

    Attributes:
        certificate: File that a client trusts it by.
    """

    def __init__(self, folder: Path) -> None:
        """Make it, or skip the test where there is no openssl."""
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not here: no certificate can be made")
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            " -subj /CN=segue-test -addext subjectAltName=IP:127.0.0.1"
        )
        subprocess.run(
            [*command.split(), "-keyout", str(key), "-out", str(self.certificate)],
            check=True,
            capture_output=True,
        )
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(self.certificate, key)

    @contextlib.asynccontextmanager
    async def guarding(self, port: int, *, is_postgres: bool = False) -> AsyncIterator[int]:
        """Speak TLS on a new port for the server on `port`; yield the new one."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if is_postgres:
                assert await reader.readexactly(8) == _POSTGRES_SSL_REQUEST
                writer.write(b"S")
                await writer.start_tls(self._context)
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

        context = None if is_postgres else self._context
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with server:
            yield server.sockets[0].getsockname()[1]


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await target.wait_closed()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return a certificate for the whole run."""
    return Authority(tmp_path_factory.mktemp("tls"))
