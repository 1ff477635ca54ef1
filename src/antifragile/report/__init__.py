"""Stage 12: tables, figures and one self-contained page, from any study or CSV."""

from antifragile.report.survey import Survey, survey
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
