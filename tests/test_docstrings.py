"""
Whoever reads a docstring alone learns what a call does, in which units, and what is in doubt after.

Everything public is walked: what users can import, and what a session hands out. The rules name no
function; what must be said of a call of the gateway follows from its endpoint.
"""

import builtins
import importlib
import inspect
import pkgutil
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
import pytest

import every8d_async
from every8d_async import Every8DSession
from every8d_async import _endpoints as endpoints
from every8d_async._endpoints import Endpoint

PACKAGE = Path(every8d_async.__file__).parent
SESSION = Every8DSession("uid", "password")

# What a float says it is, and what a whole number may count or be.
MEASURES = re.compile(r"\b(seconds|points|share|requests)\b", re.IGNORECASE)
COUNTS = re.compile(
    r"\b(seconds|minutes|bytes|characters|points|recipients?|requests?|pages?|rows|messages?|people"
    r"|batch(es)?|reports|replies|columns|units|calls|tries|logins|refusals|connections"
    r"|id|code|status|number|port|times)\b",
    re.IGNORECASE,
)
LIKE_ANOTHER = re.compile(r"[Aa]s (?:by|for|in|of) `([\w.]+)`")
SECTION = re.compile(r"§[1-6]")

# A call that asks nobody says so in one of these ways.
ASKS_NOBODY = re.compile(r"\bjournal alone\b|nothing is (\w+ or )?sent\b")
NEVER = "never talks to the gateway"
WHAT_BECAME = re.compile(r"\b(nothing (was|left)|may have been)\b", re.IGNORECASE)
TO_THE_GATEWAY = re.compile(r"every8d_async\._(session|transport|pool|endpoints|flow)\b")

ALWAYS = {
    *("AccessBlocked", "GatewayRefused", "GatewayUnavailable", "GatewayUnreachable"),
    *("RateLimited", "SessionMisuse"),
}


@attrs.define(slots=False)
class Thing:
    """A public class, function, method or property, with the class that it belongs to."""

    name: str
    value: Any
    owner: type | None = None

    @cached_property
    def function(self) -> Any:
        """What is called: of a class its constructor, if it wrote one; of a property, nothing."""
        if isinstance(self.value, type):
            return vars(self.value).get("__init__") if not attrs.has(self.value) else None
        if isinstance(self.value, property):
            return None
        return inspect.unwrap(getattr(self.value, "__func__", self.value))

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """The annotations of what it takes; of a value, its fields."""
        if isinstance(self.value, type) and attrs.has(self.value):
            found = {each.name: each.type for each in attrs.fields(self.value)}
        elif self.function is None:
            found = {}
        else:
            taken = inspect.signature(self.function).parameters.values()
            found = {
                each.name: each.annotation for each in taken if each.kind is not each.VAR_KEYWORD
            }
        hidden = {"self", "cls"}
        return {
            name: annotation
            for name, annotation in found.items()
            if name not in hidden and not name.startswith("_")
        }

    @cached_property
    def doc(self) -> str:
        return inspect.cleandoc(self.value.__doc__ or "")

    @cached_property
    def prose(self) -> str:
        """The docstring without its line ends."""
        return " ".join(self.doc.split())

    @cached_property
    def class_prose(self) -> str:
        return " ".join((self.owner.__doc__ or "").split()) if self.owner else ""

    @cached_property
    def told_at(self) -> "Thing | None":
        """The same method of the protocol that this one fulfils, where its docstring says so."""
        found = re.search(r"see `(\w+\.(\w+))`", self.doc)
        is_same = found and self.name.endswith(f".{found[2]}") and self.name != found[1]
        return BY_NAME[found[1]] if found and is_same else None

    def section(self, head: str) -> dict[str, str]:
        """Give the entries of a part of the docstring; a value's fields may stand with its base."""
        entries: dict[str, str] = {}
        bases = self.value.__mro__ if isinstance(self.value, type) else (self.value,)
        for base in reversed(bases):
            doc = inspect.cleandoc(base.__doc__ or "")
            part = re.search(rf"^{head}:\n((?:    .*\n?|\n)*)", doc, re.MULTILINE)
            for entry in re.split(r"^    (?=\w)", part[1] if part else "", flags=re.MULTILINE)[1:]:
                name, _, text = entry.partition(":")
                entries[name] = " ".join(text.split())
        return entries

    @cached_property
    def described(self) -> dict[str, str]:
        return self.section("Args") | self.section("Attributes")


def public_modules() -> list[Any]:
    """Give the modules that users import: no part of their names begins with an underscore."""
    found = pkgutil.walk_packages([str(PACKAGE)], "every8d_async.")
    names = [module.name for module in found if "._" not in module.name]
    return [every8d_async, *map(importlib.import_module, names)]


def names_of(module: Any) -> list[str]:
    """Give a module's public names: those that it lists, or else those that it defines."""
    defined = [
        name
        for name in dir(module)
        if getattr(getattr(module, name), "__module__", "") == module.__name__
    ]
    listed: list[str] = getattr(module, "__all__", defined)
    return [name for name in listed if not name.startswith("_")]


MODULES = public_modules()


def things() -> Iterator[Thing]:
    """Give all that is public, each once: as it is imported, or handed out by a session."""
    found = [getattr(module, name) for module in MODULES for name in names_of(module)]
    found += [type(value) for name, value in vars(SESSION).items() if not name.startswith("_")]
    for value in dict.fromkeys(each for each in found if callable(each)):
        if str(getattr(value, "__module__", "")).startswith("every8d_async"):
            yield Thing(value.__name__, value)
            if isinstance(value, type):
                yield from members(value)


def members(owner: type) -> Iterator[Thing]:
    """Give the methods and properties of a class, and of its bases in this package."""
    found: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith("every8d_async"):
            found |= vars(base)
    for name, value in found.items():
        is_public = not name.startswith("_") or name in {"__aenter__", "__anext__"}
        if is_public and (inspect.isroutine(value) or isinstance(value, property)):
            yield Thing(f"{owner.__name__}.{name}", value, owner)


THINGS = list(things())
BY_NAME = {thing.name: thing for thing in THINGS}
AWAITABLES = [thing for thing in THINGS if inspect.iscoroutinefunction(thing.function)]


def operations() -> Mapping[str, list[Endpoint[Any, Any]]]:
    """Give the endpoints by their operation's name, which is that of the public call."""
    values: Iterable[Any] = vars(endpoints).values()
    formats: Iterable[Any] = [value for value in values if isinstance(value, dict)]
    found: dict[str, list[Endpoint[Any, Any]]] = {}
    for each in chain(values, *(by_format.values() for by_format in formats)):
        if issubclass(type(each), Endpoint) and each is not endpoints.LOGIN:
            found.setdefault(each.operation, []).append(each)
    return found


OPERATIONS = operations()


def call_of(operation: str) -> Thing:
    """Give the public call of an operation."""
    method = attrgetter(operation)(SESSION)
    return BY_NAME[f"{type(method.__self__).__name__}.{method.__name__}"]


everything = pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.name)


def test_the_walk_finds_the_api() -> None:
    """What is walked holds the session, its parts, and every public submodule."""
    assert {"Every8DSession.credit", "Sms.send", "Mms.cancel", "Pager.collect"} <= BY_NAME.keys()
    assert {"Campaign.run", "asgi", "Simulator.serve", "receipt", "lifespan"} <= BY_NAME.keys()
    assert {each.__name__ for each in MODULES} >= {
        *("every8d_async.campaign", "every8d_async.webhooks", "every8d_async.testing"),
        *("every8d_async.simulator.faults", "every8d_async.integrations.redis"),
    }
    assert len(OPERATIONS) == 15  # three of tokens but the login, eleven more, MMS's own ones


@everything
def test_it_has_a_docstring(thing: Thing) -> None:
    """Each public thing has a docstring of its own, whose summary is a sentence."""
    summary = thing.doc.partition("\n\n")[0]
    assert summary[:1].isupper(), thing.name
    assert summary.rstrip()[-1] in ".:;", summary


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_module_and_constants_have_docstrings(module: Any) -> None:
    """So has each public module, and each constant or alias that it lists."""
    assert module.__doc__
    texts = {path: path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    constants = {name for name in names_of(module) if name not in BY_NAME}
    for name in constants:
        tails = [
            tail
            for text in texts.values()
            for tail in re.findall(rf"^{name}(?:: \w+)? = [^\n]*\n(\"\"\")?", text, re.MULTILINE)
        ]
        assert '"""' in tails, f"{module.__name__}.{name}"


@everything
def test_parameters_are_told(thing: Thing) -> None:
    """A list of parameters or fields is whole; three parameters or more ask for one."""
    is_value = isinstance(thing.value, type) and attrs.has(thing.value)
    is_function = thing.function is not None and not isinstance(thing.value, type)
    listed = thing.section("Args")
    if thing.told_at:
        assert thing.told_at.parameters.keys() == thing.parameters.keys()
    elif is_value:
        assert thing.parameters.keys() <= thing.described.keys()
    elif listed or (is_function and len(thing.parameters) > 2):
        assert listed.keys() == thing.parameters.keys()


def numbers_of(thing: Thing) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Name the parameters and fields that are numbers, with what must be said of them."""
    if thing.function is not None and isinstance(thing.value, type) and not thing.section("Args"):
        return  # nobody but us constructs it
    for name, annotation in thing.parameters.items():
        kinds = set(re.findall(r"\w+", getattr(annotation, "__name__", None) or str(annotation)))
        kinds -= {"None", "decimal"}
        if kinds and kinds <= {"float", "Decimal"}:
            yield name, MEASURES
        elif kinds and kinds <= {"int", "float", "Decimal"}:
            yield name, COUNTS


@everything
def test_numbers_have_units(thing: Thing) -> None:
    """Each number says what it counts; a value may say it of all its fields, in its summary."""
    told_at = thing.told_at or thing
    summary = "" if thing.function else thing.doc.partition("\n\n")[0]
    for name, units in numbers_of(told_at):
        told = told_at.described.get(name, told_at.prose)
        assert units.search(f"{told} {summary}") or LIKE_ANOTHER.match(told), name


@pytest.mark.parametrize("thing", AWAITABLES, ids=lambda thing: thing.name)
def test_awaitable_says_whether_it_asks(thing: Thing) -> None:
    """What is awaited names its section and what it raises, or says that it asks nobody."""
    whole = f"{thing.prose}\n{thing.class_prose}"
    asks_nobody = ASKS_NOBODY.search(thing.prose) or NEVER in thing.class_prose
    assert asks_nobody or (SECTION.search(whole) and thing.section("Raises")), thing.name
    if NEVER in whole and thing.owner is not None:
        source = Path(inspect.getfile(thing.owner)).read_text("utf-8")
        assert not TO_THE_GATEWAY.search(source), thing.name


@everything
def test_what_is_raised_exists(thing: Thing) -> None:
    """A listed error is one of ours or Python's; «as by» another names one that lists its own."""
    known = {**vars(builtins), **{name: each.value for name, each in BY_NAME.items()}}
    known["sqlite3.Error"] = sqlite3.Error
    for name, text in thing.section("Raises").items():
        assert issubclass(known[name], Exception), name
        for other in LIKE_ANOTHER.findall(text):
            sibling = f"{thing.owner.__name__}.{other}" if thing.owner else other
            assert (BY_NAME.get(other) or BY_NAME[sibling]).section("Raises"), other


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_call_of_the_gateway_is_told_whole(operation: str) -> None:
    """Its section, each error that applies, and for each what was or wasn't sent."""
    call, variants = call_of(operation), OPERATIONS[operation]
    repeatable = [each.repeatable for each in variants]
    wanted = set(ALWAYS)
    wanted |= {"InvalidRequest"} if call.parameters else set()
    # Of a query's own reply, or of the login's before a send or cancel.
    wanted |= {"MalformedReply"}
    wanted |= set() if all(repeatable) else {"OutcomeUnknown"}
    wanted |= {"CancelRefused"} if operation.endswith("cancel") else set()
    raises = call.section("Raises")
    assert SECTION.search(call.doc)
    assert wanted == raises.keys()
    assert "AuthenticationFailed" in raises["GatewayRefused"] or not operations_log_in(operation)
    if all(repeatable):
        assert "sends nothing" in call.doc
    else:
        assert [name for name, text in raises.items() if not WHAT_BECAME.search(text)] == []


def operations_log_in(operation: str) -> bool:
    """Tell whether a call may have to log in first: those about a token are made with one."""
    return not operation.endswith("_token")
