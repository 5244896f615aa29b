"""What an import costs, in a fresh process each time; the interpreter's own start is not in it."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import Run, Slice

_CODE = """
import sys, time
sys.modules["click"] = None  # where it is installed, httpx imports its command line, and rich, too
seconds, cpu = time.perf_counter(), time.process_time()
import {module}
print(time.perf_counter() - seconds, time.process_time() - cpu)
"""


@contextmanager
def importing(module: str, **_: Any) -> Generator[Run]:
    """Import once."""
    command = [sys.executable, "-c", _CODE.format(module=module)]

    def run(_: float) -> Slice:
        told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        seconds, cpu = map(float, told.stdout.split())
        return Slice(1, 0, seconds, cpu)

    yield run
