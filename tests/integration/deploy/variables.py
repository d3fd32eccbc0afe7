"""Which environment variables each program reads."""

import importlib

from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from deploy.local.settings import APPENDFSYNC_SETTING, SERVERS, SERVICES, port_setting
from deploy.settings import DemoSettings, RetrainSettings
from shared.settings import EnvironmentSettings
from simulator.settings import Settings as SimulatorSettings

PACKAGES = {
    **{name: (f"services.{name}",) for name in SERVICES},
    "simulator": ("simulator",),
    "demo": ("simulator", "analysis"),
    "retrain": (),
}

# Of the stacks themselves: ports, folders.
STACK_VARIABLES = {
    *(port_setting(name) for name in SERVERS | SERVICES | {"prometheus": 0, "grafana": 0}),
    "SEGUE_GATEWAY_PORT",
    APPENDFSYNC_SETTING,
    "SEGUE_STATE",
    "SEGUE_SECRETS",
}


def variables_of(program: str) -> set[str]:
    """Collect the variables that a program's settings classes read."""
    classes: list[type[BaseSettings]] = [
        importlib.import_module(f"{package}.settings").Settings for package in PACKAGES[program]
    ]
    classes += {"demo": [DemoSettings], "retrain": [RetrainSettings]}.get(program, [])
    return set().union(*map(_read_by, classes))


def known_variables() -> set[str]:
    """Collect the variables that anything reads."""
    return STACK_VARIABLES.union(*map(variables_of, PACKAGES))


def _read_by(settings: type[BaseSettings]) -> set[str]:
    prefix = settings.model_config.get("env_prefix", "")
    names: set[str] = set()
    for field, info in settings.model_fields.items():
        alias = info.validation_alias
        if isinstance(alias, AliasChoices):
            names |= {str(choice) for choice in alias.choices}
        else:
            names.add(str(alias or prefix + field).upper())
    if issubclass(settings, EnvironmentSettings | SimulatorSettings):
        names |= {f"{name}_FILE" for name in names}
    return names
