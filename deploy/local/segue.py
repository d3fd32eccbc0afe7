"""Segue as a local stack: its programs, what points them at each other, and its world."""

import dataclasses
import sys
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from deploy.commands import ROOT
from deploy.local.programs import (
    Program,
    Stack,
    answers_postgres,
    answers_redis,
    ready_check,
)
from deploy.local.servers import PostgresServer, ValkeyServer
from deploy.local.settings import SERVICES, LocalSettings
from deploy.settings import DemoSettings
from deploy.world import ensure_world

CATALOG_SETTING = "SEGUE_RECOMMENDER_CATALOG"
PEERS = ("recommender", "trainer", "logger")  # that the dashboard talks to


def create_stack(settings: LocalSettings, console: Console) -> Stack:
    """Wire Segue's programs to each other."""
    settings = dataclasses.replace(settings, environment=segue_environment(settings))
    return Stack(
        settings=settings,
        programs=segue_programs(settings),
        make_world=lambda: make_world(settings, console),
    )


def segue_programs(settings: LocalSettings) -> list[Program]:
    """List the programs of Segue: databases first, then the logger, whose start migrates."""
    valkey = ValkeyServer(settings.ports["redis"], settings.state / "redis", settings.appendfsync)
    postgres = PostgresServer(settings.ports["postgres"], settings.state / "postgres")
    return [
        Program(
            name="redis",
            command=valkey.command(),
            port=valkey.port,
            is_ready=lambda: answers_redis(valkey.url),
            wave=1,
            prepare=valkey.prepare,
            folder=Path("/"),
            kill_group=False,
        ),
        Program(
            name="postgres",
            command=postgres.command(),
            port=postgres.port,
            is_ready=lambda: answers_postgres(postgres.dsn),
            wave=1,
            prepare=postgres.prepare,
            remove=postgres.remove,
            folder=Path("/"),
            user=postgres.system_user,
            stop_signal="INT",  # fast shutdown; TERM would wait for every client to leave
            stop_timeout_s=60,
            kill_group=False,  # its children leave by themselves when they miss their parent
        ),
        *(
            Program(
                name=name,
                command=[sys.executable, "-m", f"services.{name}"],
                port=settings.ports[name],
                is_ready=ready_check(settings.url(name)),
                wave=2 if name == "logger" else 3,
            )
            for name in SERVICES
        ),
    ]


def segue_environment(settings: LocalSettings) -> dict[str, str]:
    """Return the settings that point every program at this stack."""
    state = settings.state
    redis_url = ValkeyServer(settings.ports["redis"], state / "redis").url
    dsn = PostgresServer(settings.ports["postgres"], state / "postgres").dsn
    given = settings.environment
    experiments = str(ROOT / "deploy" / "experiments.yaml")
    experiments = given.get("SEGUE_RECOMMENDER_EXPERIMENTS") or experiments
    ports = {f"SEGUE_{name.upper()}_PORT": str(settings.ports[name]) for name in SERVICES}
    hosts = {f"SEGUE_{name.upper()}_HOST": "127.0.0.1" for name in SERVICES}
    return {
        **given,
        **ports,
        **hosts,
        "SEGUE_REDIS_URL": redis_url,
        "SEGUE_POSTGRES_DSN": dsn,
        CATALOG_SETTING: given.get(CATALOG_SETTING) or str(state / "world" / "tracks.json"),
        "SEGUE_RECOMMENDER_EXPERIMENTS": experiments,
        "SEGUE_RECOMMENDER_SPOOL": str(state / "spool"),
        "SEGUE_TRAINER_FOLDER": str(state / "models"),
        "SEGUE_DASHBOARD_EXPERIMENTS": given.get("SEGUE_DASHBOARD_EXPERIMENTS") or experiments,
        **{f"SEGUE_DASHBOARD_{name.upper()}_URL": settings.url(name) for name in PEERS},
        "PYTHONUNBUFFERED": "1",
    }


def make_world(settings: LocalSettings, console: Console) -> None:
    """Generate the world into the state folder, if there is none and no other is named.

    Raises:
        CommandError: If the generator fails.
    """
    folder = settings.state / "world"
    if find_world(settings) != folder:
        return
    if not folder.exists():
        console.print("Making a world (once; it takes some seconds) ...")
    log = settings.state / "logs" / "world.log"
    ensure_world(folder, n_tracks=DemoSettings().tracks, log=log, environment=settings.environment)


def find_world(settings: LocalSettings) -> Path:
    """Return the folder of the catalogue that is served, where its world is, if it has one."""
    catalog = settings.environment.get(CATALOG_SETTING)
    return Path(catalog).parent if catalog else settings.state / "world"


def create_demo_settings(settings: LocalSettings) -> DemoSettings:
    """Point the demonstration at the local stack."""
    token = settings.environment.get("SEGUE_API_TOKEN")
    return DemoSettings(
        api_token=SecretStr(token) if token else None,
        recommender_url=settings.url("recommender"),
        trainer_url=settings.url("trainer"),
        logger_url=settings.url("logger"),
        world=find_world(settings),
        logs=settings.state / "logs",
    )
