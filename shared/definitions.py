"""Definitions of experiments from one YAML file: what is wrong with it is named by line and key."""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from shared.experiments import CONTROL, Experiment, ExperimentSet

_AT = re.compile(r" - at `\$(?P<path>.*)`$")
_STEP = re.compile(r"\[(?P<index>\d+)\]|\.?(?P<key>[^.\[\]]+)")


class InvalidExperimentsError(ValueError):
    """A definition that cannot be served; the message names the place and the fault."""


def load_experiments(path: Path) -> ExperimentSet:
    """Read definitions from a YAML file.

    Raises:
        InvalidExperimentsError: If the file is absent, no YAML, or breaks a rule.
    """
    try:
        return parse_experiments(path.read_bytes())
    except OSError as error:
        raise InvalidExperimentsError(f"{path}: {error.strerror}") from error
    except InvalidExperimentsError as error:
        raise InvalidExperimentsError(f"{path}: {error}") from error


def parse_experiments(text: bytes) -> ExperimentSet:
    """Read definitions from YAML.

    Raises:
        InvalidExperimentsError: If the text is no YAML or breaks a rule.
    """
    root: yaml.Node | None = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise InvalidExperimentsError("the file is empty")
        _check_nodes(root)
        experiments = msgspec.convert(loader.construct_document(root), ExperimentSet)
    except msgspec.ValidationError as error:
        raise InvalidExperimentsError(_locate(str(error), root)) from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InvalidExperimentsError(f"{line}no YAML: {error.problem}") from error
    except InvalidExperimentsError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidExperimentsError(f"no YAML: {reason}") from error
    _check(experiments)
    return experiments


def encode_definitions(experiments: ExperimentSet) -> bytes:
    """Write definitions as JSON; equal ones are written alike."""
    return msgspec.json.encode(experiments, order="deterministic")


def _check_nodes(root: yaml.Node) -> None:
    """Refuse what a YAML parser would silently make something else of.

    Raises:
        InvalidExperimentsError: If a mapping names a key twice, or a node contains itself.
    """
    above: set[int] = set()
    checked: set[int] = set()

    def visit(node: yaml.Node) -> None:
        if id(node) in above:
            raise InvalidExperimentsError(f"{_line(node)}an alias contains itself")
        if id(node) in checked or isinstance(node, yaml.ScalarNode):
            return
        above.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        for child in _children(node):
            visit(child)
        above.discard(id(node))
        checked.add(id(node))

    visit(root)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        yield from itertools.chain.from_iterable(node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise InvalidExperimentsError(f"{_line(key)}{key.value}: the key is there twice")
        seen.add(str(key.value))


def _locate(message: str, root: yaml.Node | None) -> str:
    """Put the line and the key before a fault of msgspec's, which names the key behind it."""
    found = _AT.search(message)
    if found is None or root is None:
        return message
    path = found["path"].removeprefix(".")
    return f"{_line(_find(root, path))}{path}: {message[: found.start()]}"


def _find(root: yaml.Node, path: str) -> yaml.Node:
    """Return the deepest node that a path leads to."""
    node = root
    for step in _STEP.finditer(path):
        if isinstance(node, yaml.SequenceNode) and step["index"]:
            node = node.value[int(step["index"])]
        elif isinstance(node, yaml.MappingNode):
            values = [value for key, value in node.value if key.value == step["key"]]
            node = values[0] if values else node
    return node


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}: "


def _check(experiments: ExperimentSet) -> None:
    names = [experiment.name for experiment in experiments.experiments]
    if experiments.holdout is not None:
        names.append(experiments.holdout.name)
    if len(set(names)) < len(names):
        raise InvalidExperimentsError(f"experiments: names repeat in {names}")
    for experiment in experiments.experiments:
        _check_experiment(experiment)
    _check_serving(experiments)
    for one, other in itertools.combinations(experiments.experiments, 2):
        if _compete(one, other):
            raise InvalidExperimentsError(
                f"{one.name} and {other.name}: both have users of layer {one.layer} at one time; "
                "their traffic must not overlap"
            )


def _check_experiment(experiment: Experiment) -> None:
    name, arms = experiment.name, [treatment.name for treatment in experiment.treatments]
    if len(arms) < 2 or arms[0] != CONTROL or len(set(arms)) < len(arms):
        raise InvalidExperimentsError(
            f"{name}: treatments are C and at least one other, each once; got {arms}"
        )
    if not all(math.isfinite(treatment.weight) for treatment in experiment.treatments):
        raise InvalidExperimentsError(f"{name}: a weight is not finite")
    if experiment.traffic[0] >= experiment.traffic[1]:
        raise InvalidExperimentsError(f"{name}: traffic goes from less to more")
    if experiment.layer is None and experiment.traffic != (0.0, 1.0):
        raise InvalidExperimentsError(f"{name}: traffic is a range of a layer; name the layer")
    if experiment.start and experiment.end and experiment.start >= experiment.end:
        raise InvalidExperimentsError(f"{name}: it ends before it starts")


def _check_serving(experiments: ExperimentSet) -> None:
    serving, by_name = experiments.serving_names, experiments.by_name
    if not serving or len(set(serving)) < len(serving):
        raise InvalidExperimentsError("serving: names one experiment or several, each once")
    defined = [experiment.name for experiment in experiments.experiments]
    for name in serving:
        if name not in defined:
            raise InvalidExperimentsError(f"serving: no experiment is called {name!r}")
        for treatment in by_name[name].treatments:
            if treatment.recommender is None:
                raise InvalidExperimentsError(
                    f"{name}: treatment {treatment.name} serves and names no recommender"
                )
    layers = {by_name[name].layer for name in serving}
    if len(serving) > 1 and (len(layers) > 1 or None in layers):
        raise InvalidExperimentsError(
            "serving: several experiments serve from one layer, which keeps their users apart"
        )


def _compete(one: Experiment, other: Experiment) -> bool:
    """Say whether two experiments could have one user of a layer at one time."""
    if one.layer is None or one.layer != other.layer:
        return False
    if one.traffic[1] <= other.traffic[0] or other.traffic[1] <= one.traffic[0]:
        return False
    for first, second in ((one, other), (other, one)):
        if first.end is not None and second.start is not None and first.end <= second.start:
            return False
    return True
