"""The page: one file with everything in it, all text escaped, sensible for every kind of study."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antifragile.analysis.convergence import curves
from antifragile.analysis.inference.two_studies import compare_studies
from antifragile.analysis.source import Source
from antifragile.analysis.summary import Measure
from antifragile.report.page.data import CURVE_STEPS, MAX_CURVE_POINTS, encode_curves
from antifragile.report.page.facts import duration_words, production_facts, remarks
from antifragile.report.page.page import embed_json, render_page, write_report
from antifragile.report.survey import survey
from antifragile.report.tables.comparison import comparison_notes
from tests.report.stored_studies import (
    SHAPES,
    empty_source,
    finished_trials,
    made_curves,
    made_source,
)

EVIL = "<script>alert(1)</script>&\"'</title>"
SMALL = ("1*256", "16*16", "32*32")


class Reader(HTMLParser):
    """Counts elements, keeps the text of headings and the addresses that a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags:
            self.texts[self.tags[-1]] = self.texts.get(self.tags[-1], "") + data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


def test_it_has_no_external_resource() -> None:
    page = render_page(made_source(SMALL))
    assert read(page).addresses == ["data:,", "#tables"]
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+|http-equiv", "", page)
    assert "default-src 'none'" in page


def test_a_hostile_name_is_text_everywhere() -> None:
    plain = read(render_page(made_source(SMALL)))
    page = render_page(made_source(SMALL, name=EVIL))
    reader = read(page)
    assert sorted(reader.tags) == sorted(plain.tags)
    assert reader.texts["h1"].strip() == EVIL
    assert data_of(page)["name"] == EVIL


def test_a_hostile_mode_and_another_study_are_text_too() -> None:
    source = made_source(SMALL, modes=("none", "full"))
    frame = source.trials.replace({"mode": {"full": EVIL}})
    other = replace(source, name=EVIL, trials=frame, meta_loops=None, origin={"file": EVIL})
    page = render_page(other, other=replace(other, name="b"))
    assert page.count("<script") == 2
    assert {mode["name"] for mode in data_of(page)["modes"]} == {"none", EVIL}


def test_json_inside_a_script_cannot_end_it() -> None:
    value = {"a": ["</script><!--", "&amp;\u2028"], "b": 1.5}
    text = embed_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="Out of range"):
        embed_json(float("nan"))


def test_every_trial_and_every_record_is_in_it() -> None:
    source = made_source(SMALL)
    data = data_of(render_page(source))
    assert [view["measure"] for view in data["views"]] == ["peak", "final", "test"]
    trials = data["views"][0]["trials"]
    assert sum(len(cell) for row in trials for cell in row) == len(source.trials)
    assert sum(entry[3] for entry in data["curves"]["index"]) == len(source.meta_loops)


def test_curves_survive_their_packing() -> None:
    frame = curves(made_curves(SMALL))
    packed = encode_curves(frame, SMALL, list(frame["mode"].unique()))
    values = np.frombuffer(base64.b64decode(packed["values"]), dtype="<u2") / CURVE_STEPS
    assert np.abs(values - frame["validation_accuracy"].to_numpy()).max() < 0.001
    assert packed["index"][0] == [0, 0, 1, 8, 8]
    assert packed["stride"] == 1


def test_too_many_records_are_thinned_and_their_last_ones_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = curves(made_curves(SMALL, meta_loops=20))
    monkeypatch.setattr("antifragile.report.page.data.MAX_CURVE_POINTS", len(frame) // 3)
    packed = encode_curves(frame, SMALL, list(frame["mode"].unique()))
    assert packed["stride"] == 3
    assert packed["index"][0] == [0, 0, 1, 8, 20]  # 1, 4, ..., 19 and 20
    assert MAX_CURVE_POINTS >= 98 * 6 * 10 * 100


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (empty_source(), "Partial study: no trial has finished yet of 6."),
        (made_source(SMALL, planned_trials=10), "Partial study: 54 trials finished of 180."),
        (made_source(SMALL, trials=1), "One trial per cell: no standard deviation, no interval"),
        (made_source(("32*32",)), "No trial exceeds ZeroR (11.02 %): nothing here was learned."),
        (made_source(SMALL, level=0.0), "No trial exceeds ZeroR"),
        (made_source(SMALL, meta_loops=1), "n = 3 trials per cell"),
        (made_source(("1*4",), modes=("full",)), "1 architectures, 1 modes"),
    ],
    ids=["empty", "partial", "single-trial", "all-failed", "all-zero", "one-loop", "one-cell"],
)
def test_every_kind_of_study_gives_a_sensible_page(source: Source, words: str) -> None:
    page = render_page(source)
    assert words in page
    assert "How it was produced" in page
    assert not re.search(
        r"\b(nan|NaN|inf|None)\b", re.sub(r"<script.*?</script>", "", page, flags=re.S)
    )


def test_an_empty_study_still_says_how_it_was_to_be_produced() -> None:
    page = render_page(empty_source())
    assert "No trial has finished, so there are no tables yet." in page
    assert "0 finished of 6 planned" in page


def test_trials_of_which_some_cells_are_missing() -> None:
    source = made_source(SMALL)
    few = replace(source, trials=source.trials.iloc[[0, 1, 4, 30]], meta_loops=None)
    assert "Partial study: 4 trials finished of 54." in render_page(few)


def test_a_placebo_is_called_one() -> None:
    source = made_source(SMALL)
    twin = source.trials[source.trials["mode"] == "none"].assign(mode="decay")
    rest = source.trials[source.trials["mode"] != "decay"]
    frame = rest._append(twin, ignore_index=True)  # type: ignore[operator]
    assert any("placebo" in text for text in remarks(survey(replace(source, trials=frame))))
    assert not any("placebo" in text for text in remarks(survey(source)))


def test_how_it_was_produced() -> None:
    facts = {fact.label: fact.value for fact in production_facts(made_source(SMALL))}
    assert facts["seed"] == "1337 (paired)"
    assert facts["trials"] == "54 finished of 54 planned"
    assert facts["duration"].startswith("1 min 48 s of training")
    assert facts["computed on"].startswith("made up, cpu, plain kernel, 1 thread per task, fp32")
    assert [duration_words(s) for s in (3.21, 320, 858.5 * 3600)] == [
        "3.2 s",
        "5 min 20 s",
        "858 h 30 min",
    ]


def test_a_study_against_itself_differs_nowhere() -> None:
    trials = made_source(SMALL).trials
    frame = compare_studies(trials, trials, Measure.PEAK)
    assert len(frame) == 18
    assert set(frame["verdict"]) == {"no difference shown"}
    assert frame["difference"].abs().max() == 0
    assert comparison_notes(frame)[0].startswith("18 cells in common; 0 differ after Holm's")


def test_a_shifted_study_differs_and_single_trials_show_nothing() -> None:
    source = made_source(("1*256", "1*16"), trials=8)
    column = Measure.PEAK.column
    higher = source.trials.assign(**{column: source.trials[column] + 1})
    frame = compare_studies(higher, source.trials, Measure.PEAK)
    assert set(frame["verdict"]) == {"higher"}
    assert frame["difference"].to_numpy() == pytest.approx(1.0)
    single = made_source(("1*256",), trials=1).trials
    frame = compare_studies(single, single, Measure.PEAK)
    assert frame["p"].tolist() == [1.0] * 6
    assert "no corrected difference can be found" in comparison_notes(frame)[1]


def test_studies_without_a_common_cell() -> None:
    page = render_page(made_source(("1*256",)), other=made_source(("1*16",), name="b"))
    assert "The two studies have no cell in common." in page
    nothing = render_page(made_source(("1*256",)), other=empty_source("b"))
    assert "b has no finished trial; there is nothing to compare." in nothing


def test_curves_from_elsewhere_are_shown() -> None:
    records = made_curves(SMALL)
    source = replace(made_source(SMALL), meta_loops=None, trials=finished_trials(records))
    assert data_of(render_page(source))["curves"] is None
    assert len(data_of(render_page(source, records=records))["curves"]["index"]) == 54


def test_it_is_written_whole(tmp_path: Path) -> None:
    path = write_report(made_source(SHAPES[:1]), tmp_path / "deep" / "report.html")
    assert path.read_text().rstrip().endswith("</html>")
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]
