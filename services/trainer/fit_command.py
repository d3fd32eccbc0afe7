"""`python -m services.trainer fit`: a training from files to files, without any service."""

import argparse
import asyncio
import importlib.metadata
import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy.typing as npt

from services.trainer.adapters.artifact_files import make_artifacts
from services.trainer.adapters.botify_log import load_botify_log
from services.trainer.adapters.job_folder import DiskCheckpoints, replace_file
from services.trainer.adapters.playback_sources import PlaybackSource, open_files
from services.trainer.adapters.ray_workers import open_workers
from services.trainer.core.parameters import Report, TrainingParameters
from services.trainer.core.playbacks import make_log
from services.trainer.core.recommendations import encode_recommendations
from services.trainer.core.versions import make_version_id
from services.trainer.core.warm_start import why_not_continued
from services.trainer.fit_options import WORKERS, read_parameters
from services.trainer.order import to_dict
from shared.artifacts import ModelManifest, ModelVersion, make_model
from shared.catalog import Catalog, load_catalog
from shared.model_files import load_model, save_model

if TYPE_CHECKING:
    from services.trainer.core.recipe import Fitted

MAP_TRACKS = 1500


class CommandError(RuntimeError):
    """A command that cannot be done; the message says why."""


def fit_offline(options: argparse.Namespace) -> None:
    """Turn a log, of botify's or exported, and its catalogue into `tracks_with_recs.json`.

    Raises:
        TrainingError: If the log cannot be learnt from.
        InvalidCatalogError: If the catalogue cannot be read.
        ArtifactError: If the version to start from cannot be read.
        UsageError: If the options cannot be, alone or together.
        CommandError: If a file cannot be written, or that version is of another kind.
    """
    # Only here: the service itself never needs what takes seconds to import.
    from services.trainer.core.recipe import fit_recipe

    parameters = read_parameters(options)
    _check_places(options.out, options.top_tracks)
    catalog = load_catalog(options.tracks)
    log = make_log(_load_playbacks(options))
    losses: list[dict[str, Any]] = []

    def report(stage: str | None, **fields: Any) -> None:
        if "epoch" in fields:
            losses.append(fields)
        _print_progress(stage, **fields)

    n_workers = options.workers or WORKERS
    with open_workers(parameters.engine, n_workers, options.address) as workers:
        fitted = fit_recipe(
            log,
            catalog,
            parameters=parameters,
            report=report,
            warm=_load_warm(options.warm_start, parameters, catalog),
            checkpoints=_open_checkpoint(options.checkpoint, report),
            workers=workers,
        )
    model = make_model(_describe(fitted, parameters, catalog), fitted.arrays)
    try:
        _write(model, catalog, options=options)
        if options.artifacts is not None:
            _write_artifacts(options.artifacts, fitted, model, catalog=catalog, losses=losses)
        if options.checkpoint is not None:
            options.checkpoint.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from error


def _check_places(*files: Path | None) -> None:
    """Look whether files can be written before anything is learnt for them."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise CommandError(f"{file}: there is no folder {file.parent}")


def make_manifest(
    recipe: str, catalog: Catalog, *, parameters: dict[str, Any], parent: str | None = None
) -> ModelManifest:
    now = datetime.now(UTC)
    return ModelManifest(
        model_version=make_version_id(now, secrets.token_hex(3)),
        recipe=recipe,
        created_at=now,
        catalog_checksum=catalog.checksum,
        parent=parent,
        parameters=parameters,
        code_version=importlib.metadata.version("segue"),
    )


def _load_playbacks(options: argparse.Namespace) -> npt.NDArray[Any]:
    if options.events is None:
        return load_botify_log(options.log)
    return asyncio.run(_read_events(open_files(options.events)))


async def _read_events(source: PlaybackSource) -> npt.NDArray[Any]:
    return await source.read(since=None, until=None, watermark=await source.read_watermark())


def _describe(fitted: "Fitted", parameters: TrainingParameters, catalog: Catalog) -> ModelManifest:
    return msgspec.structs.replace(
        make_manifest(parameters.recipe, catalog, parameters=to_dict(parameters)),
        seed=parameters.seed,
        data_from=fitted.data_from,
        data_until=fitted.data_until,
        learnt_until=fitted.learnt_until,
        n_sessions=fitted.n_sessions,
        n_playbacks=fitted.n_playbacks,
        metrics=fitted.metrics,
    )


def _write_artifacts(
    folder: Path,
    fitted: "Fitted",
    model: ModelVersion,
    *,
    catalog: Catalog,
    losses: list[dict[str, Any]],
) -> None:
    reliability = fitted.judgement.reliability if fitted.judgement else []
    outcome = {
        "recipe": model.manifest.recipe,
        "losses": losses,
        "metrics": fitted.metrics,
        "reliability": reliability,
    }
    artifacts = make_artifacts(outcome, model, track_ids=catalog.track_ids, map_tracks=MAP_TRACKS)
    for name, content in artifacts:
        replace_file(folder / name, content)


def _load_warm(
    folder: Path | None, parameters: TrainingParameters, catalog: Catalog
) -> Mapping[str, npt.NDArray[Any]] | None:
    if folder is None:
        return None
    model = load_model(folder)
    obstacle = why_not_continued(
        parameters,
        recipe=model.manifest.recipe,
        dim=model.manifest.parameters.get("dim"),
        is_same_catalog=model.manifest.catalog_checksum == catalog.checksum,
    )
    if obstacle is not None:
        raise CommandError(f"cannot start from {folder}: it {obstacle}")
    return model.arrays


def _open_checkpoint(path: Path | None, report: Report) -> DiskCheckpoints | None:
    if path is None:
        return None
    return DiskCheckpoints(path, lambda text: report(None, warning=text))


def _write(model: ModelVersion, catalog: Catalog, *, options: argparse.Namespace) -> None:
    with options.out.open("wb") as file:
        _write_lines(file, catalog, model)
    if options.top_tracks is not None:
        ids = catalog.track_ids[model.arrays["top_tracks"]].tolist()
        options.top_tracks.write_bytes(msgspec.json.encode(ids))
    if options.model is not None:
        save_model(model, options.model)


def _write_lines(file: IO[bytes], catalog: Catalog, model: ModelVersion) -> None:
    for lines in encode_recommendations(catalog, model.arrays["neighbours"]):
        file.write(lines)


def _print_progress(stage: str | None, **fields: Any) -> None:
    words = [
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in fields.items()
    ]
    print(": ".join(filter(None, [stage, ", ".join(words)])), file=sys.stderr)
