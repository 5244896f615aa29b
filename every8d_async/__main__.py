"""``python -m every8d_async`` and the command ``every8d``: the command line, if it is installed."""

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say what is missing for it."""
    if find_spec("typer") is None or find_spec("rich") is None:
        sys.exit("The command line needs more packages: pip install 'every8d-async[cli]'")
    from every8d_async._cli import app  # noqa: PLC0415 - an extra

    app(prog_name="every8d")


if __name__ == "__main__":
    main()
