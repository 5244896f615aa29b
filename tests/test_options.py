"""What a session can be told: limits are positive numbers, and delays stay within them."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import fields
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from every8d_async._errors import InvalidRequest
from every8d_async._options import CallEvent, RateLimit, RetryPolicy, Timeout, is_positive

NUMBERS: list[tuple[Callable[..., Any], str]] = [
    (Timeout, "total"),
    (Timeout, "connect"),
    (Timeout, "read"),
    (Timeout, "write"),
    (RetryPolicy, "attempts"),
    (RetryPolicy, "base"),
    (RetryPolicy, "cap"),
    (RateLimit, "requests"),
    (RateLimit, "per"),
    (RateLimit, "burst"),
]
NO_NUMBERS: list[Any] = [
    0,
    -1,
    0.0,
    -0.5,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    True,
    "5",
    None,
    Decimal(5),
    [5],
]


def name_of(value: Any) -> str:
    text = value.__name__ if isinstance(value, type) else repr(value)
    return text if len(text) < 40 else "huge"


def option(make: Callable[..., Any], name: str, value: Any) -> Any:
    return make(**({"requests": 10} | {name: value} if make is RateLimit else {name: value}))


def test_defaults() -> None:
    """The defaults are those of the documentation."""
    assert Timeout() == Timeout(total=60.0, connect=5.0, read=30.0, write=10.0)
    assert RetryPolicy() == RetryPolicy(attempts=3, base=0.5, cap=8.0)
    assert RateLimit(20) == RateLimit(20, per=1.0, burst=None)


@pytest.mark.parametrize(("make", "name"), NUMBERS, ids=name_of)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=name_of)
def test_only_positive_numbers(make: Callable[..., Any], name: str, value: Any) -> None:
    """Zero, negative, endless and other things are refused by name, when the value is made."""
    if name == "burst" and value is None:
        assert RateLimit(10, burst=None).burst is None
        return
    with pytest.raises(InvalidRequest) as caught:
        option(make, name, value)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{name}: must be a positive")


@pytest.mark.parametrize(("make", "name"), NUMBERS, ids=name_of)
@pytest.mark.parametrize("value", [1, 3, 60.0], ids=name_of)
def test_positive_numbers_are_taken(make: Callable[..., Any], name: str, value: Any) -> None:
    """Whole numbers and floats are both numbers."""
    assert value == getattr(option(make, name, value), name)


@pytest.mark.parametrize(
    ("make", "name"), [(RetryPolicy, "attempts"), (RateLimit, "burst")], ids=name_of
)
def test_counts_are_whole(make: Callable[..., Any], name: str) -> None:
    """Nobody tries two and a half times."""
    with pytest.raises(InvalidRequest) as caught:
        option(make, name, 2.5)
    assert caught.value.problems == (f"{name}: must be a positive whole number, not 2.5",)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Timeout(0, -1, math.nan, math.inf), ["total", "connect", "read", "write"]),
        (lambda: RetryPolicy(attempts=-1, base=0, cap=-8), ["attempts", "base", "cap"]),
        (lambda: RetryPolicy(attempts=2.5, base=0), ["attempts", "base"]),  # type: ignore[arg-type]
        (lambda: RateLimit(0, per=0, burst=0), ["requests", "per", "burst"]),
    ],
    ids=["timeout", "retry", "retry not whole", "rate limit"],
)
def test_all_problems_are_listed(make: Callable[[], Any], names: list[str]) -> None:
    """One look tells everything there is to fix."""
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert names == [problem.partition(":")[0] for problem in caught.value.problems]


@given(st.integers() | st.floats())
def test_is_positive_means_usable_as_a_time(value: float) -> None:
    """Whatever is called positive can be added to a clock's time."""
    if is_positive(value):
        assert value > 0
        assert math.isfinite(1.5 + value)


@pytest.mark.parametrize(
    "value", [Timeout(), RetryPolicy(), RateLimit(1)], ids=lambda value: type(value).__name__
)
def test_frozen(value: Any) -> None:
    """A value shared by many calls can't be changed under them."""
    with pytest.raises(FrozenInstanceError):
        setattr(value, value.__slots__[0], 1)


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [(1, 0.25, 0.5), (2, 0.5, 1.0), (3, 1.0, 2.0), (5, 4.0, 8.0), (6, 4.0, 8.0), (10**9, 4.0, 8.0)],
)
def test_delays_double_up_to_the_cap(failures: int, shortest: float, longest: float) -> None:
    """Each failure doubles the wait, half of it is jitter, and the cap ends it."""
    policy = RetryPolicy()
    assert shortest == policy.delay(failures, lambda: 0.0)
    assert longest == policy.delay(failures, lambda: 1.0)


@given(
    st.floats(min_value=1e-3, max_value=1e6),
    st.floats(min_value=1e-3, max_value=1e6),
    st.integers(min_value=1, max_value=10**6),
    st.floats(min_value=0, max_value=1),
)
def test_a_delay_never_passes_the_cap(base: float, cap: float, failures: int, luck: float) -> None:
    """Whatever the policy, a wait is above zero and at most the cap."""
    delay = RetryPolicy(base=base, cap=cap).delay(failures, lambda: luck)
    assert 0 < delay <= cap


@pytest.mark.parametrize(
    ("limit", "interval", "ahead"),
    [
        (RateLimit(20), 0.05, 0.95),
        (RateLimit(20, burst=1), 0.05, 0.0),
        (RateLimit(20, burst=3), 0.05, 0.1),
        (RateLimit(2, per=60.0), 30.0, 30.0),
        (RateLimit(1), 1.0, 0.0),
        (RateLimit(0.5), 2.0, 0.0),
        (RateLimit(2.5), 0.4, 0.8),
    ],
    ids=["20", "no burst", "burst", "a minute", "one", "half", "two and a half"],
)
def test_a_rate_has_an_even_pace(limit: RateLimit, interval: float, ahead: float) -> None:
    """A limit is a pace, and how far a burst may run ahead of it: one request may always go."""
    assert interval == pytest.approx(limit.interval)
    assert ahead == pytest.approx(limit.ahead)


def test_a_call_event_has_no_room_for_secrets() -> None:
    """An observer hears of operation, tries, outcome, time, batch, doubt, and of nothing else."""
    names = [field.name for field in fields(CallEvent)]
    assert names == ["operation", "attempts", "outcome", "seconds", "batch_id", "unknown"]
