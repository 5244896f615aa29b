"""The command line (extra ``cli``)."""

from importlib.util import find_spec

import anyio
import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Send SMS through EVERY8D, and see what became of them.",
)


@app.callback()
def every8d() -> None:
    """Make the commands below stand beside each other, also while there is but one."""


@app.command()
def demo() -> None:
    """Show the main job at work, against a simulated gateway: no account, no cost."""
    console = Console(highlight=False, soft_wrap=True)
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        console.print(
            "The demo needs the simulator: pip install 'every8d-async[simulator]'", markup=False
        )
        raise typer.Exit(1)
    from every8d_async._cli.demo import run  # noqa: PLC0415 - an extra

    anyio.run(run, console)
