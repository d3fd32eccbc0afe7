"""The published recipes, by name: each is one configuration of the trainer.

`docs/training.md` has the result of each beside the published one. What is not named here is as
`TrainingParameters` has it.
"""

from typing import Any, Literal

from services.trainer.core.parameters import DEFAULT_DIMS, TrainingParameters

PresetName = Literal[
    "published_track_only",
    "published_artist_concat",
    "published_artist_concat_track_half",
    "enriched_uniform",
    "enriched_cluster",
]

# Published are dim, loss, optimiser and neighbours. Adam's rate is torch's own; a third epoch only
# fits what will not come again.
_PUBLISHED: dict[str, Any] = {
    "dim": 100,
    "epochs": 2,
    "learning_rate": 0.001,
    "batch_size": 2048,
    "neighbours": 50,
    "initial_scale": 0.005,
}

PRESETS: dict[PresetName, dict[str, Any]] = {
    "published_track_only": _PUBLISHED | {"recipe": "track_only"},
    "published_artist_concat": _PUBLISHED | {"recipe": "artist_concat"},
    # As the notebook exports them: the artist half is learnt, and left out of the neighbours.
    "published_artist_concat_track_half": _PUBLISHED
    | {"recipe": "artist_concat", "neighbours_by": "track_half"},
    "enriched_uniform": _PUBLISHED | {"recipe": "artist_concat", "negatives": 10},
    "enriched_cluster": _PUBLISHED
    | {"recipe": "artist_concat", "negatives": 10, "negatives_from": "other_clusters"},
}


def make_parameters(preset: PresetName | None = None, **given: Any) -> TrainingParameters:
    """Return a preset's parameters, or the trainer's own, except for those given."""
    chosen: dict[str, Any] = (PRESETS[preset] if preset is not None else {}) | given
    if chosen.get("dim") is None:
        chosen["dim"] = DEFAULT_DIMS[chosen.get("recipe", TrainingParameters.recipe)]
    return TrainingParameters(**chosen)
