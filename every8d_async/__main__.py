"""``python -m every8d_async`` and the command ``every8d``: the command line, if it is installed."""

import os
import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say what is missing for it."""
    try:
        _main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # of a help that can't be written: all else is told by the command
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or it fails again as Python ends
        sys.exit(f"every8d: {error}")


def _main() -> None:
    if find_spec("typer") is None or find_spec("rich") is None:
        sys.exit("The command line needs more packages: pip install 'every8d-async[cli]'")
    from every8d_async._cli import app  # noqa: PLC0415 - an extra

    _open_missing()
    app(prog_name="every8d")


def _open_missing() -> None:
    """
    Put something in the place of what a shell has closed (``>&-``).

    Nothing can be written to the stdout that is put there: results that nobody gets are told.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "r", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, flags)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - to the end


if __name__ == "__main__":
    main()
