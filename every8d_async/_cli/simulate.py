"""The simulator as a server, for other terminals and other programs."""

import typer

from every8d_async._cli._gateway import need_simulator
from every8d_async._cli._output import telling


def simulate(ctx: typer.Context) -> None:
    """
    Serve a simulated gateway until Ctrl-C, for commands in another terminal.

    Its options are those of python -m every8d_async.simulator; --help lists them.
    """
    with telling(as_json=False):
        need_simulator()
        from every8d_async.simulator.__main__ import main

        raise typer.Exit(main(ctx.args, prog="every8d simulate"))
