"""Every case: ways to do the same, how they are measured, and what ours should reach."""

from attrs import evolve, frozen

from benchmarks.measure import (
    CPU,
    CPU_GAIN,
    GROWTH,
    HELD,
    RATE,
    SERVED,
    STALL,
    TIME,
    TIME_GAIN,
    Compared,
    Goal,
    Way,
)
from benchmarks.server import Setup

CALLERS = (1, 10, 100, 1_000)
MANY = 100  # a pool without limits is measured here, and at the cold burst: it freezes beyond
BURST = 1_000
ROWS = 1_000
DELAY = 0.05
WINDOWS = (1, 4, 8, 16)
SENDS = "benchmarks.sends"
READS = "benchmarks.reads"


@frozen
class Case:
    """
    Ways that are measured in turn.

    Attributes:
        name: As the table has it; its first word is what ``--only`` asks for.
        ways: Ours first.
        compared: The rows it gives.
        rounds: Turns of each way.
        seconds: About how long a turn is; some ways take what they take.
        server: What they talk to, if anything.
        warm: Whether each has a turn before that does not count; none has in a quick run.
        callers: How many call at once, where that is the point.
    """

    name: str
    ways: tuple[Way, ...]
    compared: tuple[Compared, ...]
    rounds: int
    seconds: float = 0.15
    server: Setup | None = None
    warm: bool = True
    callers: int = 0


@frozen
class Size:
    """
    How much is measured.

    Attributes:
        quick: Whether it is only to show that all works.
    """

    quick: bool = False

    @property
    def slice(self) -> float:
        """Give the seconds of a turn."""
        return 0.05 if self.quick else 0.15

    def __call__(self, full: int, quick: int) -> int:
        """Choose."""
        return quick if self.quick else full


def _clients(function: str, *, raised: bool, callers: int, limit: float = 60) -> tuple[Way, ...]:
    def way(name: str, client: str, needs: str, **options: object) -> Way:
        given = {"client": client, "callers": callers, **options}
        return Way(name, f"{SENDS}:{function}", given, needs=needs, limit=limit)

    ways = [
        way("ours", "ours", ""),
        way("httpx", "httpx", "httpx"),
        way("httpx, raised", "httpx", "httpx", raised=True),
        way("httpx2", "httpx", "httpx2", module="httpx2"),
        way("aiohttp", "aiohttp", "aiohttp"),
        way("twilio", "twilio", "twilio"),
    ]
    return tuple(each for each in ways if raised or not each.options.get("raised"))


def _rates(ways: tuple[Way, ...], goal: float | None = None) -> tuple[Compared, ...]:
    wanted = {"httpx": Goal(goal)} if goal else {}
    rivals = [way.name for way in ways[1:]]
    rates = [Compared(RATE, rival) for rival in rivals]
    return (*rates, *(Compared(CPU, rival, wanted.get(rival)) for rival in rivals))


def _sends(size: Size) -> list[Case]:
    goals = {1: 1.0, 10: 0.8, 100: 0.35}
    cases: list[Case] = []
    for callers in CALLERS[: size(4, 3)]:
        ways = _clients("steady", raised=callers == MANY, callers=callers)
        cases.append(
            Case(
                f"send, {callers:,} at once",
                ways,
                _rates(ways, goals.get(callers)),
                rounds=size(20 if callers <= MANY else 5, 1),
                seconds=size.slice,
                server=Setup(),
                callers=callers,
            )
        )
    slow = _clients("steady", raised=False, callers=MANY)
    # The others open 100 connections by default, a session 16; a far gateway shows that.
    wide = evolve(slow[0], name="100 connections", options={**slow[0].options, "connections": MANY})
    cases.append(
        Case(
            "far send, 50 ms, 100 at once",
            (*slow, wide),
            (
                *_rates(slow),
                *(evolve(each, ours=wide.name) for each in _rates(slow) if each.measure is RATE),
            ),
            rounds=size(10, 1),
            seconds=0.05 if size.quick else 0.5,
            server=Setup(delay=DELAY),
        )
    )
    for callers in (1, MANY):
        ways = _clients("steady", raised=False, callers=callers)
        cases.append(
            Case(
                f"tls send, {callers} at once",
                ways,
                _rates(ways),
                rounds=size(10, 1),
                seconds=size.slice,
                server=Setup(tls=True),
            )
        )
    return cases


def _burst(size: Size) -> Case:
    callers = size(BURST, 50)
    ways = _clients("burst", raised=True, callers=callers, limit=120)
    rivals = [way.name for way in ways[1:]]
    tenth = Goal(0.1)
    return Case(
        f"burst, cold, {callers:,}",
        ways,
        (
            Compared(SERVED, goal=Goal(callers, least=True)),
            *(Compared(SERVED, rival) for rival in rivals),
            *(
                Compared(TIME, rival, tenth if rival == "httpx, raised" else None)
                for rival in rivals
            ),
        ),
        rounds=size(3, 1),
        server=Setup(),
        warm=False,
    )


def _decoding(size: Size) -> list[Case]:
    rows = size(ROWS, 100)

    def way(name: str, reader: str, form: str = "JSON", needs: str = "", hide: str = "") -> Way:
        options = {"reader": reader, "form": form, "rows": rows}
        return Way(name, f"{READS}:decoding", options, needs=needs, hide=hide)

    rounds, gain = size(20, 2), Goal(8, least=True)
    cases = [
        Case(
            "decode JSON, orjson",
            (
                way("ours", "ours", needs="orjson"),
                way("orjson.loads", "orjson", needs="orjson"),
                way("obvious cattrs", "obvious"),
            ),
            (Compared(CPU, "orjson.loads", Goal(3.5)), Compared(CPU_GAIN, "obvious cattrs", gain)),
            rounds,
        ),
        Case(
            "decode JSON, stdlib",
            (
                way("ours", "ours", hide="orjson"),
                way("json.loads", "json"),
                way("obvious cattrs", "obvious"),
            ),
            (Compared(CPU, "json.loads", Goal(2.3)), Compared(CPU_GAIN, "obvious cattrs", gain)),
            rounds,
        ),
    ]
    cases += [
        Case(
            f"decode {form}",
            (way("ours", "ours", form), way("obvious cattrs", "obvious", form)),
            (Compared(CPU_GAIN, "obvious cattrs"),),
            rounds,
        )
        for form in ("TAB", "XML")
    ]
    held = {name: {"reader": name, "rows": rows} for name in ("ours", "obvious")}
    cases.append(
        Case(
            "memory of a held row",
            (
                Way("ours", f"{READS}:holding", held["ours"]),
                Way("obvious cattrs", f"{READS}:holding", held["obvious"]),
            ),
            (Compared(HELD, goal=Goal(340)), Compared(HELD, "obvious cattrs")),
            rounds=size(3, 1),
            warm=False,
        )
    )
    return cases


def _encoding(size: Size) -> list[Case]:
    def way(name: str, writer: str, count: int, needs: str = "", hide: str = "") -> Way:
        options = {"writer": writer, "count": count}
        return Way(name, "benchmarks.writes:encoding", options, needs=needs, hide=hide)

    people, many, rounds = size(1_000, 100), size(10_000, 1_000), size(20, 2)
    reference = way("cattrs + json", "obvious_personal", people)

    def param(name: str, needs: str, hide: str, least: float) -> Case:
        ways = (
            way("ours", "personal", people, needs, hide),
            way("ours, checked", "checked", people, needs, hide),
            reference,
        )
        rows = (
            Compared(CPU_GAIN, reference.name, Goal(least, least=True)),
            Compared(CPU_GAIN, reference.name, ours="ours, checked"),
        )
        return Case(name, ways, rows, rounds)

    return [
        param("encode SendParam, orjson", "orjson", "", 3.5),
        param("encode SendParam, stdlib", "", "orjson", 1.5),
        Case(
            f"encode DEST of {many:,}",
            (way("ours", "form", many), way("urlencode", "obvious_form", many)),
            (Compared(CPU_GAIN, "urlencode", Goal(10, least=True)),),
            rounds,
        ),
    ]


def _paging(size: Size) -> list[Case]:
    pages = size(100, 8)
    goals = {100: {8: 6.0, 16: 10.0}, 1_000: {8: 5.0, 16: 6.0}}

    def case(rows: int) -> Case:
        ways = tuple(
            Way(
                f"window {window}",
                f"{READS}:paging",
                {"pages": pages, "rows": rows, "window": window},
            )
            for window in WINDOWS
        )
        compared = tuple(
            Compared(TIME_GAIN, ways[0].name, Goal(least, least=True) if least else None, way.name)
            for way, window in zip(ways[1:], WINDOWS[1:], strict=True)
            for least in [goals[rows].get(window)]
        )
        setup = Setup(delay=DELAY, pages=pages, rows=rows)
        name = f"paging, {pages} of {rows:,}"
        return Case(name, ways, compared, size(3, 1), server=setup, warm=False)

    return [case(100), case(1_000)]


def _bulk(size: Size) -> Case:
    recipients = size(1_000_000, 20_000)
    ways = tuple(
        Way(
            name,
            "benchmarks.bulk:bulk",
            {"way": way, "recipients": recipients},
            limit=300,
            counted=way != "source_alone",
        )
        for name, way in (
            ("ours", "ours"),
            ("httpx + cattrs", "straightforward"),
            ("source alone", "source_alone"),
        )
    )
    compared = (
        Compared(CPU, "httpx + cattrs", Goal(1 / 3)),
        Compared(TIME, "httpx + cattrs"),
        Compared(CPU, "source alone"),
        Compared(GROWTH, goal=Goal(20)),
        Compared(GROWTH, "httpx + cattrs"),
    )
    name = f"bulk of {recipients:,}"
    return Case(name, ways, compared, size(3, 1), server=Setup(), warm=False)


_STARTS = "benchmarks.starts:importing"


def _imports(size: Size) -> list[Case]:
    def case(name: str, ours: str, theirs: str, goal: Goal | None) -> Case:
        ways = (
            Way("ours", _STARTS, {"module": "every8d_async", "then": ours}),
            Way("httpx", _STARTS, {"module": "httpx", "then": theirs}),
        )
        compared = (Compared(TIME, "httpx", goal), Compared(CPU, "httpx"))
        return Case(name, ways, compared, size(20, 1))

    session = "every8d_async.Every8DSession('uid', 'password', site='http://localhost')"
    return [
        case("import", "", "", Goal(1.5)),
        # The first session loads what an import leaves out.
        case("import, and make a client", session, "httpx.AsyncClient()", None),
    ]


def _stalls(size: Size) -> list[Case]:
    rows = size(ROWS, 100)
    page = (
        Way("ours", f"{READS}:stall", {"rows": rows}),
        Way("httpx + cattrs", f"{READS}:stall_obvious", {"rows": rows}),
    )
    sends = _clients("stall", raised=False, callers=MANY)
    return [
        Case(
            f"stall, a page of {rows:,}",
            page,
            (Compared(STALL, goal=Goal(0.005)), Compared(STALL, "httpx + cattrs")),
            rounds=size(30, 2),
            server=Setup(pages=1, rows=rows),
        ),
        Case(
            "stall, sends of 100",
            sends,
            tuple(Compared(STALL, way.name) for way in sends[1:]),
            rounds=size(10, 1),
            server=Setup(),
        ),
    ]


def cases(size: Size) -> list[Case]:
    """Give them all."""
    return [
        *_sends(size),
        _burst(size),
        *_decoding(size),
        *_encoding(size),
        *_paging(size),
        _bulk(size),
        *_imports(size),
        *_stalls(size),
    ]
