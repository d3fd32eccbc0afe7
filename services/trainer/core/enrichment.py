"""What a training learns from besides its pairs: negatives, if the parameters ask for them."""

from collections.abc import Mapping

from services.trainer.core.checkpoints import Checkpoints, NoCheckpoints
from services.trainer.core.negatives import add_negatives, find_clusters
from services.trainer.core.pairs import Pairs
from services.trainer.core.parameters import Report, TrainingParameters, report_nothing
from services.trainer.core.playbacks import FloatArray, IntArray
from services.trainer.core.training import fit


def enrich(
    train: Pairs,
    validation: Pairs,
    artist_rows: IntArray,
    *,
    parameters: TrainingParameters,
    report: Report,
    warm: Mapping[str, FloatArray] | None = None,
) -> Pairs:
    """Return the training pairs with the negatives that the parameters ask for.

    Args:
        train: Pairs to enrich.
        validation: Later pairs, as `fit` takes them.
        artist_rows: Artist per catalogue row.
        parameters: Of the training.
        report: Told of what was sampled.
        warm: Embeddings that the training starts from, as `fit` takes them.
    """
    if parameters.negatives == 0:
        return train
    clusters = None
    if parameters.negatives_from == "other_clusters":
        # A resumed training repeats this one: its single checkpoint is of the enriched pairs.
        plain = fit(
            train,
            validation,
            artist_rows,
            parameters=parameters,
            report=report_nothing,
            checkpoints=Checkpoints(NoCheckpoints(), fingerprint=""),
            warm=warm,
        )
        clusters = find_clusters(
            plain.model.context_embedding(), n_clusters=parameters.clusters, seed=parameters.seed
        )
    enriched = add_negatives(
        train,
        n_tracks=len(artist_rows),
        per_track=parameters.negatives,
        seed=parameters.seed,
        clusters=clusters,
    )
    report("training", negatives=len(enriched) - len(train))
    return enriched
