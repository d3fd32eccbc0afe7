"""The map keeps near what is near, and its picture is a picture."""

import msgspec
import numpy as np
import pytest

from services.trainer.adapters.artifact_files import write_map
from services.trainer.adapters.map_picture import draw_map, draw_model
from services.trainer.core.embedding_map import MIN_POINTS, EmbeddingMap, make_map, place_others
from services.trainer.core.errors import TrainingError
from services.trainer.fit_command import make_manifest
from shared.artifacts import make_model
from tests.unit.trainer.logs import make_blocks

N, N_BLOCKS = 90, 3


def make_embeddings(n_zero: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make embeddings of blocks far apart; the last rows are zero."""
    rng = np.random.default_rng(0)
    centres = np.eye(N_BLOCKS, 8) * 4
    both = [centres[np.arange(N) % N_BLOCKS] + rng.normal(0, 0.3, (N, 8)) for _ in range(2)]
    for embedding in both:
        embedding[N - n_zero :] = 0.0
    context, track = (embedding.astype(np.float32) for embedding in both)
    return context, track, rng.permutation(N).astype(np.int32)


@pytest.fixture(scope="module")
def embedding_map() -> EmbeddingMap:
    return make_map(*make_embeddings(), seed=1, n_points=60, n_clusters=N_BLOCKS)


def test_nearest_places_are_of_the_same_block(embedding_map: EmbeddingMap) -> None:
    blocks = embedding_map.rows % N_BLOCKS
    for places in (embedding_map.context, embedding_map.track):
        distances = np.linalg.norm(places[:, None] - places, axis=2)
        np.fill_diagonal(distances, np.inf)
        assert (blocks[distances.argmin(axis=1)] == blocks).mean() > 0.95
    same = embedding_map.clusters[:, None] == embedding_map.clusters
    assert np.array_equal(same, blocks[:, None] == blocks)
    counts = np.bincount(embedding_map.clusters)
    assert (np.diff(counts) <= 0).all()


def test_half_of_the_sample_are_the_most_popular_that_are_known(
    embedding_map: EmbeddingMap,
) -> None:
    _, _, top = make_embeddings()
    known = top[top < N - 6]
    assert len(embedding_map.rows) == 60
    assert set(known[:30]) <= set(embedding_map.rows.tolist())
    assert (embedding_map.rows < N - 6).all()
    assert embedding_map.rows[embedding_map.popularity.argmax()] == known[0]


def test_the_map_is_a_function_of_the_seed(embedding_map: EmbeddingMap) -> None:
    again, other = (
        make_map(*make_embeddings(), seed=seed, n_points=60, n_clusters=N_BLOCKS) for seed in (1, 2)
    )
    assert np.array_equal(again.context, embedding_map.context)
    assert not np.array_equal(other.rows, embedding_map.rows)


def test_the_others_come_to_lie_among_their_own_block(embedding_map: EmbeddingMap) -> None:
    _, track, _ = make_embeddings()
    others, places = place_others(track, embedding_map.rows, embedding_map.track)
    assert sorted([*others, *embedding_map.rows]) == list(range(N - 6))
    distances = np.linalg.norm(places[:, None] - embedding_map.track, axis=2)
    nearest = embedding_map.rows[distances.argmin(axis=1)]
    assert (nearest % N_BLOCKS == others % N_BLOCKS).all()


def test_the_file_has_every_track_that_is_known_once(embedding_map: EmbeddingMap) -> None:
    context, track, top = make_embeddings()
    model = make_model(
        make_manifest("imported", make_blocks(), parameters={}),
        {"context_embedding": context, "track_embedding": track, "top_tracks": top},
    )
    ids = np.arange(100, 100 + N, dtype=np.int32)
    file = msgspec.json.decode(write_map(embedding_map, model, track_ids=ids))
    assert sorted(file["tracks"]) == list(range(100, 100 + N - 6))
    assert len(file["x"]) == len(file["y"]) == N - 6
    assert file["n_laid_out"] == len(embedding_map.rows)
    place = int(np.flatnonzero(embedding_map.popularity == 1)[0])
    assert file["tracks"][file["n_laid_out"] - 1] == 100 + embedding_map.rows[place]
    assert file["x"][file["n_laid_out"] - 1] == pytest.approx(
        embedding_map.track[place, 0], abs=0.01
    )


def test_too_few_tracks_are_refused() -> None:
    context, track, top = make_embeddings(n_zero=N - MIN_POINTS + 1)
    with pytest.raises(TrainingError, match="a map takes 10 tracks"):
        make_map(context, track, top, seed=0, n_points=60)


def test_embeddings_of_one_number_are_refused() -> None:
    context, track, top = make_embeddings()
    with pytest.raises(TrainingError, match="a dim of 2"):
        make_map(context[:, :1], track[:, :1], top, seed=0, n_points=60)


def test_a_version_without_embeddings_is_refused() -> None:
    manifest = make_manifest("imported", make_blocks(), parameters={})
    model = make_model(manifest, {"neighbours": np.zeros((1, 1), np.int32)})
    with pytest.raises(TrainingError, match="has no context_embedding to draw"):
        draw_model(model, n_points=20)


def test_the_picture_is_a_png_and_the_same_each_time(embedding_map: EmbeddingMap) -> None:
    picture = draw_map(embedding_map, title="A title", subtitle="and more")
    assert picture.startswith(b"\x89PNG\r\n")
    assert picture == draw_map(embedding_map, title="A title", subtitle="and more")
    assert picture != draw_map(embedding_map, title="Another", subtitle="and more")
