"""Names of the tables; nothing heavy is imported, so that the command line lists them at once."""

from __future__ import annotations

from enum import StrEnum


class TableName(StrEnum):
    """The paper's numbers, and ``training`` for the options of the inner loop."""

    I = "I"  # noqa: E741 - the paper's number
    II = "II"
    III = "III"
    IV = "IV"
    V = "V"
    VI = "VI"
    TRAINING = "training"
