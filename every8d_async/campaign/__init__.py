"""Campaigns: bulk that survives a crash. Opt-in; nothing else of the package imports it."""

from every8d_async.campaign._campaign import Batches, Campaign
from every8d_async.campaign._journal import Claim, Entry, Form, Group, Journal, Limits
from every8d_async.campaign._run import CampaignRun
from every8d_async.campaign._sqlite import SqliteJournal
from every8d_async.campaign._values import (
    Batch,
    CampaignOutcome,
    CampaignStatus,
    ClaimLost,
    Evidence,
    JournalError,
    Left,
    Person,
    Planned,
    Reconciled,
    Reported,
    State,
    TooLate,
)

__all__ = [
    "Batch",
    "Batches",
    "Campaign",
    "CampaignOutcome",
    "CampaignRun",
    "CampaignStatus",
    "Claim",
    "ClaimLost",
    "Entry",
    "Evidence",
    "Form",
    "Group",
    "Journal",
    "JournalError",
    "Left",
    "Limits",
    "Person",
    "Planned",
    "Reconciled",
    "Reported",
    "SqliteJournal",
    "State",
    "TooLate",
]
