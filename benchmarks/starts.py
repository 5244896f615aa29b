"""
What an import costs, in a fresh process each time; the interpreter's own start is not in it.

All is compiled beforehand, as an installation is, also where bytecode is not written otherwise.
"""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Run, Slice

_CODE = """
import sys, time
sys.modules["click"] = None  # where it is installed, httpx imports its command line, and rich, too
seconds, cpu = time.perf_counter(), time.process_time()
import {module}
{then}
print(time.perf_counter() - seconds, time.process_time() - cpu)
"""


@contextmanager
def importing(module: str, then: str = "", **_: Any) -> Generator[Run]:
    """Import once, and do what is said then."""
    command = [sys.executable, "-c", _CODE.format(module=module, then=then)]
    with TemporaryDirectory() as compiled:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def run(_: float) -> Slice:
            told = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, check=True, env=environment
            )
            seconds, cpu = map(float, told.stdout.split())
            return Slice(1, 0, seconds, cpu)

        run(0)
        yield run
