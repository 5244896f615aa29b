"""
A process that measures one way: it says when it is ready, and then measures a slice a line.

A process of its own keeps one way's garbage, event loop and freezes away from the others.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from threading import Timer
from typing import Any

from attrs import asdict

from benchmarks.measure import Run, Slice, Way


@contextmanager
def started(way: Way, url: str) -> Generator[Run]:
    """Start a process for a way, and give what measures there; it is killed at its limit."""
    code = [sys.executable, "-m", "benchmarks.worker", way.function, way.hide]
    options = {**way.options, "url": f"{url}/{path_of(way.name)}"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [*code, json.dumps(options)], stdin=pipe, stdout=pipe, text=True
    )
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101
    ask, answers = process.stdin, process.stdout

    def run(seconds: float) -> Slice | None:
        killer = Timer(way.limit + seconds, process.kill)
        killer.start()
        try:
            ask.write(f"{seconds}\n")
            ask.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        finally:
            killer.cancel()
        return Slice(**json.loads(line)) if line else None

    try:
        yield run
    finally:
        process.kill()
        process.communicate()


def path_of(name: str) -> str:
    """Give the part of a path by which the server knows a way."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def pin(place: int) -> None:
    """Keep this process on one core, where there are two and the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[place]})


def main() -> None:
    """Measure what is asked for, until nothing more is."""
    function, hide, options = sys.argv[1:]
    pin(-1)
    if hide:
        modules: dict[str, Any] = sys.modules
        modules[hide] = None  # as if it were not installed
    module, _, name = function.partition(":")
    way: Any = getattr(import_module(module), name)
    with way(**json.loads(options)) as run:
        for line in sys.stdin:
            sys.stdout.write(f"{json.dumps(asdict(run(float(line))))}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
