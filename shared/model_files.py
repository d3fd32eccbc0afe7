"""A model version in a folder: its manifest as JSON, and a file per array."""

from pathlib import Path

import msgspec

from shared.arrays import to_npy
from shared.artifacts import ArtifactError, ModelVersion, decode_manifest, open_model


def save_model(model: ModelVersion, folder: Path) -> None:
    """Write a version to a folder: `manifest.json` and one `.npy` per array."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in model.arrays.items():
        (folder / f"{name}.npy").write_bytes(to_npy(array))
    manifest = msgspec.json.format(msgspec.json.encode(model.manifest), indent=2)
    (folder / "manifest.json").write_bytes(manifest)


def load_model(folder: Path) -> ModelVersion:
    """Read and verify a version from a folder.

    Raises:
        ArtifactError: As `fetch_model`.
    """
    try:
        manifest = decode_manifest(folder.name, (folder / "manifest.json").read_bytes())
        payloads: dict[str, bytes | None] = {
            name: (folder / f"{name}.npy").read_bytes() for name in manifest.checksums
        }
    except OSError as error:
        raise ArtifactError(f"{error.filename}: {error.strerror}") from error
    return open_model(manifest, payloads)
