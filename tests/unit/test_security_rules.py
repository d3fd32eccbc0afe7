"""What no module of ours does: unpickle, or put a value into SQL."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "services", "simulator", "analysis", "deploy")
UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
# Postgres takes no parameters in the definition of a partition; its bounds are made of dates.
DEFINITIONS = {
    "services/logger/adapters/migrations/versions/0005_experiment_listeners.py",
    "services/logger/adapters/migrations/versions/0007_refresh_in_parts.py",
    "services/logger/adapters/partitions.py",
}
# pandas and torch unpickle too, by these names.
CALLS = {"read_pickle", "to_pickle", "unsafe_load", "full_load"}
SQL = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "TRUNCATE ", "CREATE ", "ALTER ", "DROP ")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


MODULES = list(modules())


def find_unpickling(tree: ast.AST) -> list[str]:
    """Return the names by which a module could unpickle something."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in UNPICKLERS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            found.append(str(node.module))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found += _check_call(node, node.func)
    return found


def _check_call(node: ast.Call, function: ast.Attribute) -> list[str]:
    module = function.value.id if isinstance(function.value, ast.Name) else ""
    if function.attr in CALLS or (module, function.attr) == ("torch", "save"):
        return [function.attr]
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    required = {
        ("np", "load"): ("allow_pickle", False),
        ("np", "save"): ("allow_pickle", False),
        ("np", "savez"): ("allow_pickle", False),
        ("np", "savez_compressed"): ("allow_pickle", False),
        ("torch", "load"): ("weights_only", True),
    }.get((module, function.attr))
    if required is None:
        return []
    given = options.get(required[0])
    is_right = isinstance(given, ast.Constant) and given.value is required[1]
    return [] if is_right else [f"{module}.{function.attr} without {required[0]}={required[1]}"]


def find_interpolated_sql(tree: ast.Module) -> list[str]:
    """Return what is put into SQL texts and is no constant of the module, nor imported as one."""
    constants = {
        name.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            constants |= {alias.name for alias in node.names if alias.name.isupper()}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and _is_sql(node):
            values = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            found += [
                ast.unparse(value)
                for value in values
                if not (isinstance(value, ast.Name) and value.id in constants)
            ]
    return found


def _is_sql(text: ast.JoinedStr) -> bool:
    first = text.values[0] if text.values else None
    words = first.value.lstrip() if isinstance(first, ast.Constant) else ""
    return isinstance(words, str) and words.startswith(SQL)


def test_the_modules_are_found() -> None:
    assert len(MODULES) > 200


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "frame.to_pickle(path)",
        "yaml.unsafe_load(text)",
    ],
)
def test_what_unpickles_is_found(text: str) -> None:
    assert find_unpickling(ast.parse(text))


def test_nothing_is_unpickled() -> None:
    found = {name: names for name, tree in MODULES if (names := find_unpickling(tree))}
    assert found == {}


def test_a_value_in_sql_is_found() -> None:
    text = "NAMES = 'a, b'\ndef f(user): return f'SELECT {NAMES} FROM t WHERE user = {user}'"
    assert find_interpolated_sql(ast.parse(text)) == ["user"]


def test_sql_holds_no_values() -> None:
    found = {name for name, tree in MODULES if find_interpolated_sql(tree)}
    assert found == DEFINITIONS
