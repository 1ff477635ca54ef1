"""Stage 12: tables, figures and one self-contained page, from any study or CSV.

The public names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antifragile._lazy import importer

if TYPE_CHECKING:
    from antifragile.report.surveys import Survey, survey
    from antifragile.report.table import TableFormat, as_csv, as_latex, as_markdown, as_rich
    from antifragile.report.tables import TableName, build_table, winner_differences

__all__ = [
    "Survey",
    "TableFormat",
    "TableName",
    "as_csv",
    "as_latex",
    "as_markdown",
    "as_rich",
    "build_table",
    "survey",
    "winner_differences",
]

__getattr__ = importer(
    __name__,
    {
        "surveys": ("Survey", "survey"),
        "table": ("TableFormat", "as_csv", "as_latex", "as_markdown", "as_rich"),
        "tables": ("TableName", "build_table", "winner_differences"),
    },
)
