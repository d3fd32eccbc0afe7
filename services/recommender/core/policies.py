"""Policies: a treatment's recommender and, in order, who answers when it cannot."""

from collections.abc import Mapping

import msgspec

from services.recommender.core.explanations import explain
from services.recommender.core.models import Models, ServedModel
from services.recommender.core.recommenders import (
    Choice,
    Context,
    Contextual,
    Indexed,
    NoRecommendationError,
    Random,
    Recommender,
    StickyArtist,
    TopPop,
)
from services.recommender.core.session_recommender import SessionTaste
from shared.definitions import InvalidExperimentsError
from shared.experiments import ExperimentSet, Treatment

RECOMMENDERS: Mapping[str, type[Recommender]] = {
    "random": Random,
    "top_pop": TopPop,
    "sticky_artist": StickyArtist,
    "indexed": Indexed,
    "contextual": Contextual,
    "session": SessionTaste,
}

# `random` ends every chain, its own too: there without the treatment's cap on artists.
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "session": ("contextual", "top_pop", "random"),
    "contextual": ("top_pop", "random"),
    "indexed": ("top_pop", "random"),
    "sticky_artist": ("random",),
    "top_pop": ("random",),
    "random": ("random",),
}


TOO_SLOW = "too_slow"


class CatalogExhaustedError(Exception):
    """The session has heard every track there is."""


class Recommendation(msgspec.Struct, frozen=True):
    """What was chosen, by whom, and why by nobody before."""

    choice: Choice
    recommender: str
    model_version: str | None
    fallback: str | None


class Policy(msgspec.Struct, frozen=True):
    """How one treatment is served.

    Attributes:
        steps: Recommenders by name, tried in order.
        model_version: `latest`, or a pinned id.
    """

    steps: tuple[tuple[str, Recommender], ...]
    model_version: str

    @property
    def remembers(self) -> bool:
        """Whether its recommender reads the session's playbacks and what it returned before."""
        return self.steps[0][1].remembers

    def find_model(self, models: Models) -> ServedModel | None:
        """Return the model version that this treatment is served from."""
        return models.find(self.model_version)

    def recommend(self, context: Context, *, rests: bool = False) -> Recommendation:
        """Ask each recommender until one answers.

        Args:
            context: What they may look at.
            rests: Whether the first one is not to be asked now.

        Raises:
            CatalogExhaustedError: If none can, not even `random`.
        """
        failures = [f"{self.steps[0][0]}:{TOO_SLOW}"] if rests else []
        for name, recommender in self.steps[len(failures) :]:
            try:
                choice = recommender.recommend(context)
            except NoRecommendationError as error:
                failures.append(f"{name}:{error.reason}")
                continue
            if context.explain:
                why = explain(recommender, context, choice)
                choice = msgspec.structs.replace(choice, explanation=why)
            version = context.model.version if context.model and recommender.uses_model else None
            return Recommendation(choice, name, version, ",".join(failures) or None)
        raise CatalogExhaustedError("the session has heard every track of the catalogue")


def make_policy(treatment: Treatment) -> Policy:
    """Make the policy of a treatment that serves.

    Raises:
        InvalidExperimentsError: If its recommender or a parameter does not exist.
    """
    name = treatment.recommender or ""
    if name not in RECOMMENDERS:
        known = ", ".join(RECOMMENDERS)
        raise InvalidExperimentsError(
            f"treatment {treatment.name}: recommender {name!r} is none of {known}"
        )
    try:
        own = msgspec.convert(treatment.parameters, RECOMMENDERS[name])
    except msgspec.ValidationError as error:
        raise InvalidExperimentsError(f"treatment {treatment.name}: {name}: {error}") from error
    cap = {"max_per_artist": treatment.parameters.get("max_per_artist")}
    rest = [
        (fallback, msgspec.convert({} if fallback == "random" else cap, RECOMMENDERS[fallback]))
        for fallback in FALLBACKS[name]
    ]
    return Policy(((name, own), *rest), treatment.model_version)


def make_policies(experiments: ExperimentSet) -> dict[tuple[str, str], Policy]:
    """Make the policies of all treatments that serve, and of the default.

    Returns:
        By names of experiment and treatment; the default's experiment is empty.

    Raises:
        InvalidExperimentsError: As `make_policy`, naming the experiment too.
    """
    policies = {("", experiments.default.name): make_policy(experiments.default)}
    for name in experiments.serving_names:
        for treatment in experiments.by_name[name].treatments:
            try:
                policies[name, treatment.name] = make_policy(treatment)
            except InvalidExperimentsError as error:
                raise InvalidExperimentsError(f"{name}: {error}") from error
    return policies


def pinned_versions(experiments: ExperimentSet) -> frozenset[str]:
    """List the model versions that treatments name by id."""
    policies = make_policies(experiments).values()
    return frozenset(policy.model_version for policy in policies) - {"latest"}
