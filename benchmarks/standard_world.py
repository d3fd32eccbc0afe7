"""The standard world: botify's catalogue and listeners where they are, else generated ones."""

import argparse
from pathlib import Path

import msgspec

from shared.catalog import load_catalog
from simulator.core.listeners import User
from simulator.core.world import World, WorldParameters, make_embeddings_for, make_world

HELP = "folder of botify's tracks.json and users.json, for the published catalogue and listeners"


def add_source(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark be told where botify's files are."""
    parser.add_argument("--source", type=Path, help=HELP)


def make_standard_world(parameters: WorldParameters, source: Path | None) -> World:
    """Make embeddings for botify's catalogue and listeners, or a world of generated ones.

    Args:
        parameters: Of a generated world; of the other, its seed alone.
        source: Folder of botify's `tracks.json` and `users.json`.
    """
    if source is None:
        return make_world(parameters)
    catalog = load_catalog(source / "tracks.json")
    lines = (source / "users.json").read_bytes().splitlines()
    users = tuple(msgspec.json.decode(line, type=User) for line in lines)
    return World(catalog, make_embeddings_for(catalog, users, parameters.seed), users)
