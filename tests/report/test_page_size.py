"""A study as large as the paper's: 5,880 trials of 100 meta-loops in one page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from antifragile.analysis.source import open_source
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.modes import PAPER_MODES
from antifragile.report.page.page import write_report
from tests.report.stored_studies import fill_store, made_spec

MOST_SECONDS, MOST_BYTES = 30, 20_000_000


@pytest.mark.slow
def test_the_papers_size_fits_the_time_and_the_page(tmp_path: Path) -> None:
    shapes = [entry.architecture.name for entry in PAPER_LANDSCAPE]
    fill_store(tmp_path / "large.db", made_spec("large", shapes, PAPER_MODES, 10, 100))
    start = time.monotonic()
    source = open_source(str(tmp_path / "large.db"))
    path = write_report(source, tmp_path / "report.html")
    seconds = time.monotonic() - start
    print(f"{seconds:.1f} s, {path.stat().st_size:,} bytes")
    assert len(source.trials) == 5_880
    assert len(source.meta_loops) == 588_000 if source.meta_loops is not None else False
    assert path.stat().st_size < MOST_BYTES
    assert seconds < MOST_SECONDS
