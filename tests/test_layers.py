"""The layers: who may import whom, where the wire's names stand, what the root leaves out."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import every8d_async

PACKAGE = Path(every8d_async.__file__).parent

# Lower rows first: each may import only from rows above it in this table. A package is one unit.
ROWS = (
    {"_codes", "_pool", "_site", "_version", "_wire"},
    {"_errors"},
    {"_border", "_loop", "_options"},
    {"_models"},
    {"_bulk", "_checks", "_codecs", "_pace", "_paging", "_stores", "_transport", "webhooks"},
    {"_lenient", "_pages", "_tokens", "_usual", "_watch"},
    {"_requests"},
    {"_convert", "_estimate", "_settings"},
    {"_endpoints"},
    {"_flow", "_plans"},
    {"_resources"},
    {"_driver"},
    {"_session"},
    {"__init__"},
    {"campaign", "simulator"},
    {"integrations", "testing"},
    {"_cli"},
    {"__main__"},
)
ROW = {unit: number for number, row in enumerate(ROWS) for unit in row}

# Only these may import what the rest of the client must not know.
GUARDED = {
    "httpx": {"_pool", "_transport", "simulator"},
    "cattrs": {"_convert"},
    "httpcore": set[str](),
    "h11": set[str](),
    "trio": set[str](),
    "orjson": {"_codecs"},
    "requests": set[str](),
    "starlette": {"simulator", "integrations"},
    "fastapi": {"integrations"},
    "aiohttp": {"integrations"},
    "redis": {"integrations"},
    "procrastinate": {"integrations"},
    "uvicorn": {"simulator"},
    "typer": {"_cli"},
    "rich": {"_cli"},
    "pytest": {"testing"},
}

# What requests and replies call things; a push report's names are its own business.
WIRE_NAMES = {
    *("UID", "PWD", "HandlerType", "VerifyType"),
    *("SB", "MSG", "DEST", "ST", "RETRYTIME", "EventID", "IsSend", "ATTACHMENT"),
    *("RecipientDataList", "Mobile", "Email", "SendTime", "Param", "Mr"),
    *("BID", "PNO", "RESPFORMAT"),
    *("Result", "Msg"),
    *("SMS_COUNT", "DATA", "MOBILE", "SEND_TIME", "SENT_TIME", "COST", "REAL_COST"),
    *("RECEIVED_TIME", "CONTENT", "SMS_LOG", "GET_DELIVERY_STATUS"),
}
SPEAK_THE_WIRE = {"_codecs", "_convert", "_endpoints", "_pages", "simulator", "webhooks"}

# The root never loads these: extras, and what is opt-in.
OPT_IN = [
    *("starlette", "uvicorn", "multipart", "python_multipart", "fastapi", "aiohttp", "redis"),
    *("typer", "rich", "click", "orjson", "trio", "pytest", "respx", "hypothesis", "sqlite3"),
    *("every8d_async.simulator", "every8d_async.campaign", "every8d_async.integrations"),
    *("every8d_async.testing", "every8d_async.webhooks", "every8d_async._cli"),
]


def unit_of(path: Path) -> str:
    """Give the unit that a file belongs to: its package below ours, or the module itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8"), str(path)) for path in SOURCES}
UNITS = sorted({unit_of(path) for path in SOURCES})
each_unit = pytest.mark.parametrize("unit", UNITS)


def imported_by(path: Path) -> Iterator[tuple[str, str]]:
    """Give all that a file imports, wherever it stands: under TYPE_CHECKING, in functions too."""
    for node in ast.walk(TREES[path]):
        where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from ((where, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((where, f"{module}.{alias.name}") for alias in node.names)


IMPORTS = {
    unit: [found for path in SOURCES if unit_of(path) == unit for found in imported_by(path)]
    for unit in UNITS
}


def own_unit(module: str) -> str | None:
    """Give the unit of ours that an imported name belongs to; the root's own names are its own."""
    root, _, rest = module.partition(".")
    if root != "every8d_async":
        return None
    unit = rest.partition(".")[0]
    return unit if unit in UNITS else "__init__"


def test_every_unit_has_its_row() -> None:
    """A new module takes a place in the table, and an old one leaves it."""
    assert set(ROW) == set(UNITS)
    assert len(ROW) == sum(map(len, ROWS))


@each_unit
def test_a_unit_imports_only_what_is_below(unit: str) -> None:
    """Imports go one way: whoever reads a module need not know those that use it."""
    wrong = [
        f"{where} imports {module}"
        for where, module in IMPORTS[unit]
        if (other := own_unit(module)) is not None and other != unit and ROW[other] >= ROW[unit]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", GUARDED)
def test_who_knows_a_package(package: str) -> None:
    """What can be swapped stays in its place: HTTP, conversion, and whatever is an extra."""
    knowing = {
        unit
        for unit, imported in IMPORTS.items()
        for _, module in imported
        if module.partition(".")[0] == package
    }
    assert knowing <= GUARDED[package]


def test_httpx_and_cattrs_stand_where_they_should() -> None:
    """The guard above would pass on an empty package."""
    for package, unit in (("httpx", "_pool"), ("httpx", "_transport"), ("cattrs", "_convert")):
        assert any(module.startswith(package) for _, module in IMPORTS[unit])


def test_the_simulator_knows_nothing_of_the_client() -> None:
    """It is a second witness of the protocol: with one line of the client it would be none."""
    wrong = [
        f"{where} imports {module}"
        for where, module in IMPORTS["simulator"]
        if own_unit(module) not in (None, "simulator")
    ]
    assert wrong == []


@each_unit
def test_imports_are_absolute(unit: str) -> None:
    """An import says the same wherever it stands."""
    assert [where for where, module in IMPORTS[unit] if module.startswith(".")] == []


@each_unit
def test_nobody_imports_behind_the_table(unit: str) -> None:
    """No module is imported by its name as a text, where this test could not see it."""
    called = {
        ast.unparse(node.func)
        for path, tree in TREES.items()
        if unit_of(path) == unit
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    hidden = {"import_module", "importlib.import_module", "__import__", "exec", "eval"}
    assert called & hidden == set()


def literals(tree: ast.AST) -> Iterator[str]:
    """Give the texts that stand in a source, but for the names of types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif not (
            isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"TypeVar", "cast"}
        ):
            yield from literals(node)


def wire_names_in(unit: str) -> set[str]:
    """Give the wire's names that a unit writes: as texts of their own, or quoted inside of one."""
    texts = [
        text for path, tree in TREES.items() if unit_of(path) == unit for text in literals(tree)
    ]
    return WIRE_NAMES & {word for text in texts for word in (text, *re.findall('"(\\w+)"', text))}


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in SPEAK_THE_WIRE])
def test_the_wires_names_stand_in_few_places(unit: str) -> None:
    """A name of the wire is written where requests are made and replies are read."""
    assert wire_names_in(unit) == set()


def test_the_wires_names_are_those_that_are_used() -> None:
    """The guard above knows the names that stand in the source."""
    used = {name for unit in SPEAK_THE_WIRE - {"simulator"} for name in wire_names_in(unit)}
    assert used == WIRE_NAMES


# --- the root ---


def place(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then functions, each by name."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


def test_all_is_sorted_and_complete() -> None:
    """What the root imports is what it offers, in an order in which it can be found."""
    names = every8d_async.__all__
    assert sorted(names, key=place) == names
    imported = {module.rpartition(".")[2] for _, module in IMPORTS["__init__"]}
    assert imported == set(names)
    assert [name for name in names if not hasattr(every8d_async, name)] == []


def test_every_public_error_is_offered() -> None:
    """Whatever can be raised can be caught by a name from the root."""
    from every8d_async import _errors as errors  # noqa: PLC0415 - of this test alone

    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.Every8DError)
    }
    assert raised <= set(every8d_async.__all__)


def test_the_root_holds_no_code() -> None:
    """It is a list of names: a docstring, imports, and `__all__`."""
    first, *rest = TREES[PACKAGE / "__init__.py"].body
    assert isinstance(first, ast.Expr)
    assert {type(node) for node in rest} == {ast.ImportFrom, ast.Assign}
    assert isinstance(rest[-1], ast.Assign)
    assert [ast.unparse(target) for target in rest[-1].targets] == ["__all__"]


def test_the_root_leaves_extras_out() -> None:
    """A client that only sends loads nothing that it does not need."""
    # httpx loads rich and click by itself, for its own command, where they are installed.
    script = (
        "import sys, httpx; before = set(sys.modules); import every8d_async; "
        f"print([name for name in {OPT_IN} if name in sys.modules.keys() - before])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_types_are_shipped() -> None:
    """Users' type checkers read ours."""
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "base", "types"])
def test_no_module_is_named_for_nothing(name: str) -> None:
    """A module is named for what it holds."""
    assert not any(path.stem.strip("_") == name for path in SOURCES)
