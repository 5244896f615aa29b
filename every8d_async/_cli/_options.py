"""Options that many commands share, and the panels they stand in."""

from pathlib import Path
from typing import Annotated

import typer

SEND, FOLLOW, CAMPAIGN, ACCOUNT, TRY = (
    "Send",
    "See what became of it",
    "Campaigns: bulk that survives a crash",
    "Account",
    "Try it, without an account",
)

Simulate = Annotated[
    bool,
    typer.Option("--simulate", help="Against a simulated gateway: no account, no cost, no SMS."),
]
AccountFile = Annotated[
    Path | None,
    typer.Option(
        "--account",
        metavar="FILE",
        help="A file with uid, password, site (mode 0600), instead of the environment.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="For scripts: JSON on stdout, all words on stderr.")
]
