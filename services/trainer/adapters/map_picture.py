"""The embedding map as a picture."""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from services.trainer.core.embedding_map import EmbeddingMap, make_map
from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import FloatArray
from shared.artifacts import ModelVersion

# Ten calm colours that stay apart also for most who see colours differently, after Paul Tol's
# "muted" scheme.
_COLOURS = (
    "#332288", "#44AA99", "#CC6677", "#DDCC77", "#88CCEE",
    "#AA4499", "#117733", "#999933", "#882255", "#7F7F7F",
)  # fmt: skip
_ARRAYS = ("context_embedding", "track_embedding", "top_tracks")
_INK, _FAINT = "#2B2B33", "#8A8A94"
_DPI = 150
_PLAIN: dict[str, Any] = {
    "frameon": False,
    "fontsize": 9,
    "title_fontsize": 9,
    "alignment": "left",
    "handletextpad": 0.1,
    "columnspacing": 1.0,
    "labelcolor": _INK,
}


def draw_map(embedding_map: EmbeddingMap, *, title: str, subtitle: str = "") -> bytes:
    """Draw both planes side by side, coloured by cluster, larger where popular.

    Args:
        embedding_map: What to draw.
        title: Above the picture.
        subtitle: Below the title.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(12.0, 6.9), facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.02, right=0.98, top=0.82, bottom=0.11, wspace=0.04)
    _draw_plane(left, embedding_map.context, embedding_map, "As a session's first track")
    _draw_plane(right, embedding_map.track, embedding_map, "As a track that follows")
    figure.text(0.025, 0.94, title, fontsize=16, fontweight="bold", color=_INK)
    figure.text(0.025, 0.9, subtitle, fontsize=10, color=_FAINT)
    _add_legend(figure, embedding_map)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def draw_model(model: ModelVersion, *, n_points: int, seed: int = 0) -> bytes:
    """Draw the embedding map of a model version, as a PNG.

    Args:
        model: Any that was trained here.
        n_points: Tracks to lay out, at most: time grows with them.
        seed: Of the sample and the layout.

    Raises:
        TrainingError: If the version has no embeddings of first and following tracks, or of too
            few tracks.
    """
    return draw_map_of(model, map_model(model, n_points=n_points, seed=seed))


def map_model(model: ModelVersion, *, n_points: int, seed: int = 0) -> EmbeddingMap:
    """Lay out the embeddings of a model version; arguments and errors as `draw_model`."""
    missing = set(_ARRAYS) - model.arrays.keys()
    if missing:
        raise TrainingError(f"{model.manifest.model_version} has no {min(missing)} to draw")
    context, track, top = (model.arrays[name] for name in _ARRAYS)
    return make_map(context, track, top, n_points=n_points, seed=seed)


def draw_map_of(model: ModelVersion, embedding_map: EmbeddingMap) -> bytes:
    """Draw a model version's map, as a PNG."""
    return draw_map(
        embedding_map,
        title=f"Tracks near each other in {model.manifest.model_version}",
        subtitle=f"{model.manifest.recipe} · t-SNE of {len(embedding_map.rows):,} of "
        f"{len(model.arrays['track_embedding']):,} tracks, half of them the most popular",
    )


def _draw_plane(axes: Axes, places: FloatArray, embedding_map: EmbeddingMap, title: str) -> None:
    order = np.argsort(embedding_map.popularity, kind="stable")  # the popular ones on top
    colours = np.array(_COLOURS)[embedding_map.clusters % len(_COLOURS)]
    axes.scatter(
        places[order, 0],
        places[order, 1],
        s=_size(embedding_map.popularity[order]),
        c=colours[order],
        alpha=0.75,
        linewidths=0,
    )
    axes.set_title(title, loc="left", fontsize=11, color=_INK, pad=8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    axes.set_box_aspect(0.93)
    for spine in axes.spines.values():
        spine.set_color("#E4E4E8")


def _diameter(popularity: float) -> float:
    return float(np.sqrt(_size(np.array([popularity], dtype=np.float32)))[0])


def _size(popularity: FloatArray) -> FloatArray:
    sizes: FloatArray = (5.0 + 40.0 * popularity**4).astype(np.float32)
    return sizes


def _add_legend(figure: Figure, embedding_map: EmbeddingMap) -> None:
    counts = np.bincount(embedding_map.clusters)
    handles = [
        _make_dot(_COLOURS[i % len(_COLOURS)], 6.5, f"{i + 1} ({count})")
        for i, count in enumerate(counts[: len(_COLOURS)])
    ]
    figure.legend(
        handles=handles,
        title="Clusters of the left side's embedding, in both (tracks)",
        loc="lower left",
        bbox_to_anchor=(0.018, 0.005),
        ncols=len(handles),
        **_PLAIN,
    )
    sizes = [
        _make_dot(_FAINT, _diameter(p), name)
        for p, name in ((0.0, "least"), (0.8, ""), (1.0, "most"))
    ]
    figure.legend(
        handles=sizes,
        title="Popularity",
        loc="lower right",
        bbox_to_anchor=(0.985, 0.005),
        ncols=3,
        **_PLAIN,
    )


def _make_dot(colour: str, size: float, label: str) -> Line2D:
    return Line2D(
        [], [], marker="o", linestyle="", markersize=size, color=colour, markeredgewidth=0,
        label=label,
    )  # fmt: skip
