"""
The command line (extra ``cli``).

A command is a function in one of the modules here, registered below. It begins with
``with telling(...) as out``, which turns whatever ends it into a sentence and an exit code, says
results through ``out``, and reaches the gateway through ``gateway(...)``. What is slow to import
(the simulator, campaigns, progress bars) is imported inside the functions that need it.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from every8d_async._cli import account, batches, campaign, demo, doctor, send, simulate
from every8d_async._cli._exits import MEANINGS
from every8d_async._cli._options import ACCOUNT, CAMPAIGN, FOLLOW, SEND, TRY

_EXAMPLES = """\
 Three ways to begin:

   every8d send --simulate "Hello" 0912345678     no account, no cost, no SMS
   every8d credit                                 with EVERY8D_UID and _PASSWORD
   every8d send --csv people.csv --dry-run        checks all, tells the cost

 An account is read from EVERY8D_UID, EVERY8D_PASSWORD and EVERY8D_SITE, or from
 a file that only you can read; never from the command line.
"""

_CODES = " Exit codes, by what to do next:\n\n" + "".join(
    f"   {code:>3}  {meaning}\n" for code, meaning in MEANINGS.items()
)


class _Root(TyperGroup):
    """The command itself: what sends comes first, and its help ends with examples and codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        first = ("send", "mms", "estimate", "campaign")
        others = [name for name in super().list_commands(ctx) if name not in first]
        return [*first, *others]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        typer.echo(f"{_EXAMPLES}\n{_CODES}")


app = typer.Typer(
    cls=_Root,
    name="every8d",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Send SMS and MMS through EVERY8D, and see what became of them.",
)
campaigns = typer.Typer(
    no_args_is_help=True,
    help="Plan a CSV file, run it, run it again after a crash; export who got it.",
)
token = typer.Typer(no_args_is_help=True, help="Test the login: every8d token check.")

app.command(rich_help_panel=SEND)(send.send)
app.command(rich_help_panel=SEND)(send.mms)
app.command(rich_help_panel=SEND)(send.estimate)
app.command(rich_help_panel=FOLLOW)(batches.reports)
app.command(rich_help_panel=FOLLOW)(batches.watch)
app.command(rich_help_panel=FOLLOW)(batches.replies)
app.command(rich_help_panel=FOLLOW)(batches.cancel)
app.add_typer(campaigns, name="campaign", rich_help_panel=CAMPAIGN)
campaigns.command()(campaign.plan)
campaigns.command()(campaign.run)
campaigns.command()(campaign.status)
campaigns.command()(campaign.reconcile)
campaigns.command()(campaign.resolve)
campaigns.command()(campaign.export)
app.command(rich_help_panel=ACCOUNT)(account.credit)
app.add_typer(token, name="token", rich_help_panel=ACCOUNT)
token.command("check")(account.check_token)
app.command(rich_help_panel=ACCOUNT)(doctor.doctor)
app.command("demo", rich_help_panel=TRY)(demo.show)
app.command(
    "simulate",
    rich_help_panel=TRY,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)(simulate.simulate)


@app.callback()
@token.callback()
def _beside_each_other() -> None:
    """Keep a group a group, also while it has but one command."""
