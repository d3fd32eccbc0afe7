"""The supervisor's configuration."""

import configparser
import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deploy.local.configuration import (
    LONGEST_SOCKET_PATH,
    make_configuration,
    quote_command,
    socket_path,
)
from deploy.local.programs import Program, Stack
from deploy.local.segue import (
    CATALOG_SETTING,
    create_demo_settings,
    create_stack,
    segue_environment,
    segue_programs,
)
from deploy.local.settings import parse_settings

ROOT = Path("/somewhere")
SOCKET = ROOT / ".segue" / "supervisor.sock"


def make_stack(**environment: str) -> Stack:
    settings = parse_settings(environment, ROOT)
    programs = [
        Program(
            name="redis",
            command=["valkey", "--save", ""],
            port=1,
            is_ready=lambda: True,
            wave=1,
            stop_signal="INT",
            stop_timeout_s=60,
            kill_group=False,
        ),
        Program(name="logger", command=["python"], port=2, is_ready=lambda: True, wave=2),
    ]
    return Stack(settings=settings, programs=programs)


def parse(text: str) -> configparser.RawConfigParser:
    # As supervisord makes its parser.
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(text)
    return parser


def test_a_program_is_described_as_it_was_given() -> None:
    parser = parse(make_configuration(make_stack(), SOCKET))
    section = parser["program:redis"]
    assert shlex.split(section["command"]) == ["valkey", "--save", ""]
    assert section["stopsignal"] == "INT"
    assert section["stopwaitsecs"] == "60"
    assert section["killasgroup"] == "false"
    assert section["stdout_logfile"] == "%(here)s/logs/redis.log"
    assert section["autorestart"] == "true"


def test_programs_stop_in_the_reverse_of_the_order_in_which_they_start() -> None:
    parser = parse(make_configuration(make_stack(), SOCKET))
    assert int(parser["program:redis"]["priority"]) < int(parser["program:logger"]["priority"])


def test_the_same_settings_give_the_same_text() -> None:
    assert make_configuration(make_stack(), SOCKET) == make_configuration(make_stack(), SOCKET)


def test_another_setting_gives_another_text_and_another_terminal_does_not() -> None:
    before = make_configuration(make_stack(TERM="xterm"), SOCKET)
    assert make_configuration(make_stack(TERM="vt100"), SOCKET) == before
    assert make_configuration(make_stack(SEGUE_DEMO_SESSIONS="10"), SOCKET) == before
    assert make_configuration(make_stack(SEGUE_LOG_LEVEL="DEBUG"), SOCKET) != before


def test_no_setting_is_written_to_the_file() -> None:
    assert "hunter2" not in make_configuration(make_stack(SEGUE_PASSWORD="hunter2"), SOCKET)


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]))))
def test_a_quoted_command_is_read_back_by_supervisord(words: list[str]) -> None:
    text = f"[program:x]\ncommand={quote_command(['run', *words])}\n"
    command = parse(text)["program:x"]["command"] % {}
    assert shlex.split(command) == ["run", *words]


@given(st.lists(st.text("ab", min_size=1, max_size=40), min_size=1, max_size=8))
def test_the_socket_path_always_fits_and_is_always_the_same(parts: list[str]) -> None:
    state = ROOT.joinpath(*parts)
    path = socket_path(state)
    assert len(str(path)) <= LONGEST_SOCKET_PATH
    assert path == socket_path(state)


def test_deep_folders_do_not_share_a_socket() -> None:
    one, two = (socket_path(Path("/", "deep" * 40, name)) for name in ("one", "two"))
    assert one.parent != two.parent


def test_every_program_of_segue_is_pointed_at_the_stack_s_own_servers() -> None:
    settings = parse_settings(
        {"SEGUE_REDIS_PORT": "7001", "SEGUE_POSTGRES_PORT": "7002", "SEGUE_LOGGER_PORT": "7003"},
        ROOT,
    )
    environment = segue_environment(settings)
    assert environment["SEGUE_REDIS_URL"] == "redis://127.0.0.1:7001/0"
    assert environment["SEGUE_POSTGRES_DSN"] == "postgresql://postgres@127.0.0.1:7002/segue"
    assert environment["SEGUE_LOGGER_PORT"] == "7003"
    assert environment["SEGUE_TRAINER_PORT"] == "5002"


def test_the_experiments_are_the_houses_unless_others_are_named() -> None:
    name = "SEGUE_RECOMMENDER_EXPERIMENTS"
    usual = segue_environment(parse_settings({}))[name]
    assert usual.endswith("deploy/experiments.yaml")
    own = segue_environment(parse_settings({name: "/own.yaml"}))
    assert own[name] == "/own.yaml"
    assert own["SEGUE_DASHBOARD_EXPERIMENTS"] == "/own.yaml"


def test_a_catalogue_can_be_ones_own_and_its_world_is_beside_it() -> None:
    usual = create_stack(parse_settings({"SEGUE_STATE": "/state"}), Console())
    assert usual.settings.environment[CATALOG_SETTING] == "/state/world/tracks.json"
    assert create_demo_settings(usual.settings).world == Path("/state/world")
    given = {"SEGUE_STATE": "/state", CATALOG_SETTING: "/mine/tracks.json"}
    own = create_stack(parse_settings(given), Console())
    assert own.settings.environment[CATALOG_SETTING] == "/mine/tracks.json"
    assert create_demo_settings(own.settings).world == Path("/mine")
    own.make_world()
    assert not Path("/state").exists()


def test_postgres_is_asked_for_a_fast_shutdown() -> None:
    programs = {each.name: each for each in segue_programs(parse_settings({}, ROOT))}
    assert programs["postgres"].stop_signal == "INT"
    assert programs["postgres"].wave < programs["logger"].wave < programs["trainer"].wave
