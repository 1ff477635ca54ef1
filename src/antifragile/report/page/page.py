"""One self-contained HTML page about a study, or about two set side by side.

The page needs no network and no server: styles, script and data are inside, and a content
security policy forbids anything else. Tables are written here, so they are read without a script;
the map and the charts are drawn by the script in ``templates``. All text is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from antifragile._files import write_output
from antifragile._shown import visible
from antifragile.analysis.convergence import TRIAL_KEY, curves
from antifragile.analysis.inference.two_studies import compare_studies
from antifragile.analysis.regimes.words import RegimeRules
from antifragile.analysis.source import Source
from antifragile.analysis.summary import Measure
from antifragile.report.page.data import Plain, page_data
from antifragile.report.page.facts import production_facts, remarks
from antifragile.report.page.tables import page_tables
from antifragile.report.survey import Survey, available_measures, survey
from antifragile.report.table import Spread, Table, show
from antifragile.report.tables.comparison import comparison_table

_OF_CURVES = (*TRIAL_KEY, "meta_loop", "validation_accuracy", "bounty_accuracy")
_SCRIPTS = ("common.js", "map.js", "charts.js", "detail.js", "tables.js", "main.js")


def write_report(
    source: Source,
    path: Path,
    *,
    rules: RegimeRules = RegimeRules.PAPER,
    records: pd.DataFrame | None = None,
    other: Source | None = None,
) -> Path:
    """Write the page, whole or not at all.

    Args:
        source: The study.
        path: The HTML file.
        rules: The rules that name the regimes.
        records: Curves for a source without meta-loop records.
        other: A second study to compare with.

    Returns:
        ``path``.

    Raises:
        WorldError: The place cannot be written.
    """
    page = render_page(source, rules=rules, records=records, other=other)
    write_output(path, page.encode())
    return path


def render_page(
    source: Source,
    *,
    rules: RegimeRules = RegimeRules.PAPER,
    records: pd.DataFrame | None = None,
    other: Source | None = None,
) -> str:
    """The page's HTML; arguments as `write_report`."""
    surveys = {m: survey(source, m, rules=rules) for m in available_measures(source)}
    first = surveys[Measure.PEAK]
    tables = page_tables(first)
    against = comparison = None
    if other is not None:
        against = survey(other, Measure.PEAK, rules=rules)
        comparison = compare_studies(source.trials, other.trials, Measure.PEAK)
        table = comparison_table(comparison, source.name, other.name, Measure.PEAK)
        tables.insert(0, ("comparison", "Comparison, cell by cell", table))
    data = page_data(surveys, curves=_curves(source, records), other=against, comparison=comparison)
    return _fill(first, against, tables, data)


def _curves(source: Source, records: pd.DataFrame | None) -> pd.DataFrame | None:
    """All records, those of unfinished trials too; None without any."""
    found = source.meta_loops if records is None else records
    if found is None or found.empty:
        return None
    return curves(found[[name for name in _OF_CURVES if name in found]])


def _fill(
    first: Survey, other: Survey | None, sections: Sequence[tuple[str, str, Table]], data: Plain
) -> str:
    sources = [item.source for item in (first, other) if item is not None]
    names = [source.name for source in sources]
    return (
        page_environment()
        .get_template("page.html.j2")
        .render(
            title=" against ".join(names),
            survey=first,
            names=names,
            remarks=remarks(first, other),
            sections=sections,
            facts=[(source.name, production_facts(source)) for source in sources],
            specs=[_spec(source) for source in sources],
            style=Markup(template_text("page.css")),
            script=Markup("\n".join(template_text(name) for name in _SCRIPTS)),
            data=Markup(embed_json(data)),
        )
    )


@lru_cache
def page_environment() -> Environment:
    """Jinja with the page's filters; everything that is filled in is escaped."""
    environment = Environment(
        loader=PackageLoader("antifragile.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"show": show, "sort_value": sort_value}
    return environment


def _finalize(value: Any) -> Any:
    """Show control characters, which have no place in a page; what is marked safe is ours."""
    is_foreign = isinstance(value, str) and not isinstance(value, Markup)
    return visible(value) if is_foreign else value


def embed_json(value: Any) -> str:
    """JSON that may stand inside a ``<script>``: nothing in it ends the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def template_text(name: str) -> str:
    """A style sheet or script of the page."""
    text = (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
    assert "</" not in text or name.endswith(".j2"), f"{name} would end its element"
    return text


def sort_value(cell: Any) -> str:
    """Key by which a column is sorted; empty sorts last."""
    if cell is None or cell != cell:
        return ""
    return repr(float(cell.mean)) if isinstance(cell, Spread) else str(cell)


def _spec(source: Source) -> tuple[str, str]:
    spec = source.origin.get("spec")
    return source.name, "" if spec is None else json.dumps(spec, indent=2)
