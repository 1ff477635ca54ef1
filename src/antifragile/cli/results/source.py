"""The options by which a verb of analysis names the SOURCE that it reads."""

from __future__ import annotations

from dataclasses import dataclass

from antifragile.analysis.regimes.words import RegimeRules
from antifragile.analysis.source import Source, open_source
from antifragile.analysis.summary import Measure
from antifragile.cli.options import (
    MeasureOption,
    RulesOption,
    SourceArgument,
    StudyOption,
    ZeroROption,
)
from antifragile.report.survey import Survey, survey


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """SOURCE, and what it takes to open it."""

    source: SourceArgument
    study: StudyOption = None
    zero_r: ZeroROption = None

    def open(self, *, with_records: bool = True) -> Source:
        """Open the source.

        Args:
            with_records: Read the meta-loop records too.

        Raises:
            UsageError: A CSV without ``zero_r``, or with ``study``.
        """
        return open_source(
            self.source, study=self.study, zero_r=self.zero_r, with_records=with_records
        )


@dataclass(frozen=True, kw_only=True)
class SurveyFlags(SourceFlags):
    """A source for tables and figures."""

    measure: MeasureOption = "peak"
    rules: RulesOption = "paper"

    def survey(self, *, with_records: bool = True) -> Survey:
        """Open the source and read it.

        Args:
            with_records: Read the meta-loop records too.

        Raises:
            UsageError: As `open`.
        """
        opened = self.open(with_records=with_records)
        return survey(opened, Measure(self.measure), rules=RegimeRules(self.rules))
