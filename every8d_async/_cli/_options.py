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

Csv = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="People, one a line; the first line names the columns."),
]
Template = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="A text with %field1% to %field5%; the CSV has the fields."),
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of the CSV, where it is neither UTF-8 nor Big5."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Pass over lines that can't be sent; each is told.")
]
Filtered = Annotated[
    bool,
    typer.Option("--filtered", help="Leave out who had the same text within the last 24 hours."),
]
At = Annotated[
    str | None,
    typer.Option(metavar="TIME", help='When to send: "2026-01-31 09:00", Taipei time.'),
]
ValidFor = Annotated[
    int | None,
    typer.Option(min=1, metavar="MINUTES", help="How long delivery is tried; else a day."),
]
Subject = Annotated[
    str, typer.Option(metavar="TEXT", help="A note for your own records; nobody gets it.")
]
EventId = Annotated[
    str | None,
    typer.Option(metavar="ID", help="An interactive channel, whose link makes the text longer."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Recipients in a request.")]
InFlight = Annotated[int, typer.Option(min=1, help="Requests at once.")]
MaxPoints = Annotated[
    float | None, typer.Option(min=0, help="Stop before this would be crossed, by our estimate.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check all and tell the cost; nothing is sent.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before a bulk send.")]
Mms = Annotated[bool, typer.Option("--mms", help="The batch is one of MMS.")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="From the receipt.")]
CsvOut = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write a new CSV file for spreadsheets instead."),
]
