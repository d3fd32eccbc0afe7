"""The supervisor's configuration: what it runs, where it writes and listens."""

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.commands import ROOT
from deploy.local.programs import Program, Stack

# The address of a Unix socket holds 107 bytes; supervisord binds at `<path>.<pid>` first.
LONGEST_SOCKET_PATH = 107 - len(".4194304")


def make_configuration(stack: Stack, socket: Path) -> str:
    """Write supervisord's configuration; equal text means equal programs and environment."""
    environment = repr(sorted(_own_variables(stack.settings.environment).items()))
    return "\n".join(
        [
            "; Written by `make up`: a change here does not last.",
            f"; environment: {hashlib.sha256(environment.encode()).hexdigest()}",
            "[supervisord]",
            "logfile=%(here)s/logs/supervisord.log",
            "pidfile=%(here)s/supervisord.pid",
            "nodaemon=false",
            # It warns a root that does not name itself.
            *(["user=root"] if os.geteuid() == 0 else []),
            "[unix_http_server]",
            f"file={_socket_setting(stack, socket)}",
            "chmod=0700",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            *(line for program in stack.programs for line in _program_lines(program)),
            "",
        ]
    )


def socket_path(state: Path) -> Path:
    """Return where supervisord listens: in its state folder, if the path is short enough."""
    path = state / "supervisor.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    return Path("/tmp") / f"segue-{os.geteuid()}-{name}" / path.name  # noqa: S108 - made private


def _program_lines(program: Program) -> Sequence[str]:
    user = [f"user={program.user}"] if program.user else []
    return [
        f"[program:{program.name}]",
        f"command={quote_command(program.command)}",
        f"directory={program.folder}" if program.folder != ROOT else "; from the root folder",
        *user,
        f"priority={program.wave}",
        "autostart=false",
        "autorestart=true",
        "startsecs=1",
        "startretries=10",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_timeout_s}",
        f"killasgroup={str(program.kill_group).lower()}",
        "redirect_stderr=true",
        f"stdout_logfile=%(here)s/logs/{program.name}.log",
        "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=2",
    ]


def quote_command(words: Sequence[str]) -> str:
    """Quote a command for supervisord, which expands % and takes ` #` and ` ;` for comments."""
    quoted = " ".join(shlex.quote(word) for word in words)
    return quoted.replace("%", "%%").replace(" #", " ''#").replace(" ;", " '';")


def _socket_setting(stack: Stack, socket: Path) -> str:
    return f"%(here)s/{socket.name}" if socket.parent == stack.state else str(socket)


def _own_variables(environment: Mapping[str, str]) -> dict[str, str]:
    # The demonstration's settings are none of the running programs'.
    return {
        key: value
        for key, value in environment.items()
        if key.startswith(("SEGUE_", "OTEL_")) and not key.startswith("SEGUE_DEMO_")
    }
