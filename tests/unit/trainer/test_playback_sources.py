"""A request trains on what the settings allow, and on nothing beside it."""

from pathlib import Path

import pytest

from services.trainer.adapters.playback_sources import (
    SourceNotAllowedError,
    check_source,
    open_files,
)
from services.trainer.core.errors import TrainingError

ROOTS = ("s3://bucket/segue", "memory://logs/")


@pytest.mark.parametrize(
    "source", ["postgres", "s3://bucket/segue", "s3://bucket/segue/events/", "memory://logs/a"]
)
def test_roots_and_what_is_below_them_are_allowed(source: str) -> None:
    check_source(source, ROOTS)


@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket",
        "s3://bucket/segue2",
        "s3://bucket/segue/../other",
        "s3://bucket/segue/%2e%2e/other",
        "gs://bucket/segue",
        "https://bucket/segue?x=1",
        "simplecache::s3://bucket/segue",
        "/bucket/segue",
        "bucket/segue",
    ],
)
def test_everything_else_is_refused(source: str) -> None:
    with pytest.raises(SourceNotAllowedError):
        check_source(source, ROOTS)


def test_links_do_not_lead_out_of_a_root(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    for folder in (root / "events", secret):
        folder.mkdir(parents=True)
    (root / "link").symlink_to(secret)
    roots = [str(root)]
    check_source(f"file://{root}/events", roots)
    check_source(str(root / "events"), roots)
    for source in (root / "link", secret, tmp_path):
        with pytest.raises(SourceNotAllowedError):
            check_source(str(source), roots)


def test_an_unknown_protocol_is_no_log() -> None:
    with pytest.raises(TrainingError, match="nowhere"):
        open_files("nowhere://log")
