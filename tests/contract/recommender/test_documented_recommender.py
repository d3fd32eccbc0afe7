"""The recommender that the documentation adds keeps what every recommender keeps."""

import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from scipy.stats import chisquare

from services.recommender.core import recommenders
from services.recommender.core.policies import FALLBACKS, RECOMMENDERS
from services.recommender.core.recommenders import NO_CANDIDATES, NoRecommendationError, Recommender
from shared.definitions import parse_experiments
from tests.unit.recommender.factories import N_ARTISTS, N_TRACKS, make_context, make_index

PAGE = (Path(__file__).parents[3] / "docs/adding-a-recommender.md").read_text()
INDEX = make_index()


@pytest.fixture
def kind() -> type[Recommender]:
    """Return the class of the page."""
    names = dict(vars(recommenders))
    (example, *_) = re.findall(r"```python\n(class .*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/adding-a-recommender.md", "exec"), names)  # noqa: S102
    found: type[Recommender] = names["NewArtist"]
    return found


def test_its_artist_is_new_and_its_propensity_the_frequency(kind: type[Recommender]) -> None:
    recommender = msgspec.convert({}, kind)
    counts: Counter[int] = Counter()
    for seed in range(4_000):
        context = make_context(INDEX, track=1, first=0, heard=[0, 2, 12], seed=seed)
        choice = recommender.recommend(context)
        assert INDEX.artists[choice.row] not in {0, 1, 2}
        counts[choice.row] += 1
        assert choice.propensity == pytest.approx(N_ARTISTS / N_TRACKS / (N_ARTISTS - 3))
    assert len(counts) == round(1 / choice.propensity)
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_it_says_that_nothing_is_left(kind: type[Recommender]) -> None:
    with pytest.raises(NoRecommendationError, match=NO_CANDIDATES):
        msgspec.convert({}, kind).recommend(make_context(INDEX, heard=range(N_TRACKS)))


def test_its_experiment_names_what_the_page_adds(kind: type[Recommender]) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    experiments = parse_experiments(example.encode())
    assert experiments.serving == "NEW_ARTIST"
    known, chains = dict(RECOMMENDERS), dict(FALLBACKS)
    code = "\n".join(re.findall(r"```python\n((?:RECOMMENDERS|FALLBACKS).*?)```", PAGE, re.DOTALL))
    exec(code, {"RECOMMENDERS": known, "FALLBACKS": chains, "NewArtist": kind})  # noqa: S102
    assert known["new_artist"] is kind
    assert set(chains["new_artist"]) <= set(known)
    treatments = experiments.by_name["NEW_ARTIST"].treatments
    assert [t.recommender in known for t in treatments] == [True, True]
    for treatment in treatments:
        msgspec.convert(treatment.parameters, known[treatment.recommender or ""])
