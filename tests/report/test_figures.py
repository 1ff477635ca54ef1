"""Every figure: what it shows, that no text covers another, that it is the same every time."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import antifragile.report
from antifragile.analysis.convergence import curves, mean_and_best_curves, read_curves_csv
from antifragile.analysis.regimes.words import Regime
from antifragile.analysis.source import open_source
from antifragile.config.modes import PAPER_MODES, get_mode, mode_names
from antifragile.errors import UsageError
from antifragile.report.figures.curves import showcase
from antifragile.report.figures.names import FigureName
from antifragile.report.figures.registry import draw_figure
from antifragile.report.looks import REGIME_LOOKS, mode_looks
from antifragile.report.style import encode_figure, save_figure
from antifragile.report.survey import Survey, survey
from tests.report.stored_studies import empty_source, made_curves, made_source

FOUR_MODES = ("none", "output", "annealed_gradient_noise", "random_weight_perturbation")


@pytest.fixture(scope="module")
def made() -> Survey:
    return survey(made_source())


def overlapping_texts(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that share area, and texts that leave the figure (paired with it)."""
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    idle = idle_labels(figure)
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_text().strip() and id(text) not in idle
    ]
    frame = figure.bbox.padded(1)
    outside = [
        (name, "the frame")
        for name, box in boxes
        if not (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1))
    ]
    covered = [
        (a[0], b[0])
        for a, b in combinations(boxes, 2)
        if min(a[1].x1, b[1].x1) - max(a[1].x0, b[1].x0) > 1
        and min(a[1].y1, b[1].y1) - max(a[1].y0, b[1].y0) > 1
    ]
    return outside + covered


def caption(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def idle_labels(figure: Figure) -> set[int]:
    """Labels that are never drawn: of ticks beyond the limits, and of panels that are hidden."""
    idle: set[int] = set()
    for axes in figure.axes:
        if not axes.get_visible():
            idle |= {id(text) for text in axes.findobj(Text)}
        for axis in (axes.xaxis, axes.yaxis):
            drawn = {id(tick) for tick in axis._update_ticks()}  # type: ignore[attr-defined]
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                for label in (tick.label1, tick.label2):
                    if id(tick) not in drawn or not label.get_visible():
                        idle.add(id(label))
    return idle


@pytest.mark.parametrize("name", FigureName)
def test_no_text_covers_another_or_leaves_the_frame_and_n_is_stated(
    name: FigureName, made: Survey
) -> None:
    drawn = draw_figure(name, made)
    assert overlapping_texts(drawn) == []
    assert "n = " in caption(drawn)


@pytest.mark.parametrize("name", ["parameter-matching", "winning-strategy", "convergence"])
def test_nor_on_the_papers_data(name: str, paper_trials: Path, paper_convergence: Path) -> None:
    source = open_source(str(paper_trials), zero_r=11.02)
    records = read_curves_csv(paper_convergence) if name == "convergence" else None
    assert overlapping_texts(draw_figure(FigureName(name), survey(source), records=records)) == []


def test_intervals_are_stated_where_there_are_any(made: Survey) -> None:
    assert "95 % intervals of the cell means" in caption(draw_figure(FigureName.REGIMES, made))
    single = survey(made_source(trials=1))
    text = caption(draw_figure(FigureName.REGIMES, single))
    assert "no interval, it needs two trials per cell" in text


def test_a_figure_is_the_same_every_time_and_touches_no_global_state(made: Survey) -> None:
    for format_ in ("png", "svg"):
        first, again = (
            encode_figure(draw_figure(FigureName.REGIMES, made), format_) for _ in range(2)
        )
        assert first == again
    sources = Path(antifragile.report.__file__).parent.glob("*.py")
    assert [path.name for path in sources if "pyplot" in path.read_text()] == []


def test_it_is_saved_by_its_ending_and_by_no_other(made: Survey, tmp_path: Path) -> None:
    drawn = draw_figure(FigureName.INSTABILITY, made)
    for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        save_figure(drawn, tmp_path / f"f.{ending}")
        assert (tmp_path / f"f.{ending}").read_bytes().startswith(start)
    with pytest.raises(UsageError, match=r"written as \.png or \.svg; got 'pdf' ending"):
        save_figure(drawn, tmp_path / "f.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.png", "f.svg"]


@pytest.mark.parametrize("name", FigureName)
def test_an_empty_study_has_nothing_to_draw(name: FigureName) -> None:
    with pytest.raises(
        UsageError, match=r"no finished trial|no meta-loop records|no robustness records"
    ):
        draw_figure(name, survey(empty_source()))


def test_robustness_has_a_panel_per_kind_of_damage(made: Survey) -> None:
    drawn = draw_figure(FigureName.ROBUSTNESS, made, targets=["1*16"])
    assert len(drawn.axes) == 3
    with pytest.raises(UsageError, match="evaluate"):
        draw_figure(FigureName.ROBUSTNESS, survey(replace(made.source, robustness=None)))


def test_a_csv_of_trials_needs_curves_from_elsewhere(made: Survey) -> None:
    bare = survey(replace(made.source, meta_loops=None))
    with pytest.raises(UsageError, match="give a store, or --convergence FILE"):
        draw_figure(FigureName.CONVERGENCE, bare)
    records = curves(
        made_curves()
        .drop(columns=["trial", "bounty_accuracy"])
        .drop_duplicates(["architecture", "mode", "meta_loop"])
    )
    drawn = draw_figure(FigureName.CONVERGENCE, bare, records=records)
    assert "no interval" in caption(drawn)


def test_options_that_a_figure_does_not_take_are_refused(made: Survey) -> None:
    with pytest.raises(UsageError, match="--targets chooses the rows of convergence"):
        draw_figure(FigureName.REGIMES, made, targets=["1*256"])
    with pytest.raises(UsageError, match="is drawn from the trials alone"):
        draw_figure(FigureName.REGIMES, made, records=pd.DataFrame())


def test_targets_choose_the_rows_of_convergence(made: Survey) -> None:
    drawn = draw_figure(FigureName.CONVERGENCE, made, targets=["[2*8,1*4]", "1*16"])
    titles = [axes.get_title(loc="left") for axes in drawn.axes]
    assert [title.split("   ")[0] for title in titles if title] == ["[2*8, 1*4]", "1*16"]


def test_by_default_one_architecture_per_regime_is_shown(made: Survey) -> None:
    chosen = showcase(made, list(made.landscape["architecture"]))
    regimes = made.landscape.set_index("architecture")["regime"][chosen]
    assert len(set(regimes)) == len(chosen) == made.landscape["regime"].nunique()


def test_the_mean_of_curves_and_the_best_trial_by_hand() -> None:
    rows = [("1*4", "none", t, n, v) for t, n, v in [(1, 1, 10.0), (1, 2, 20.0), (2, 1, 30.0)]]
    columns = ["architecture", "mode", "trial", "meta_loop", "validation_accuracy"]
    frame = mean_and_best_curves(curves(pd.DataFrame(rows, columns=columns)))
    assert frame[["n", "mean", "best"]].values.tolist()[0] == [2, 20.0, 30.0]
    assert frame["low"].tolist()[0] == 0.0  # of 20 ± 127, cut at what an accuracy can be
    assert pd.isna(frame["low"].tolist()[1])


def test_modes_and_regimes_differ_in_more_than_colour() -> None:
    looks = list(mode_looks(["none", "decay", "dropout", "full", "hidden", "output"]).values())
    assert len({look.marker for look in looks}) == len({look.color for look in looks}) == 6
    named = [REGIME_LOOKS[regime] for regime in list(Regime)[:5]]
    assert len({look.marker for look in named}) == 5
    others = mode_looks(["sam", "none", "swap"])
    assert len({look.color for look in others.values()}) == 3


VARIANTS = (*FOUR_MODES, "hidden+patience=5", "dropout:50,hidden+count=2:50")
IN_ANY_NETWORK = tuple(name for name in mode_names() if not get_mode(name).recycling)


@pytest.mark.parametrize(
    "modes", [FOUR_MODES, IN_ANY_NETWORK, VARIANTS], ids=["four", "all", "variants"]
)
@pytest.mark.parametrize(
    "name", ["convergence", "winning-strategy", "late-breakthroughs", "robustness"]
)
def test_perturbed_modes_have_room_in_every_figure(name: str, modes: tuple[str, ...]) -> None:
    figure = draw_figure(FigureName(name), survey(made_source(("1*16", "16*16"), modes)))
    assert overlapping_texts(figure) == []


def test_perturbed_modes_have_a_column_of_their_own() -> None:
    figure = draw_figure(FigureName.CONVERGENCE, survey(made_source(("1*16",), FOUR_MODES)))
    labels = [axes.get_xlabel() for axes in figure.axes]
    kinds = ("baseline modes", "ablative modes", "perturbed updates")
    assert labels == [f"meta-loop ({kind})" for kind in kinds]


def test_further_modes_look_different_from_one_another_and_alike_in_other_company() -> None:
    alone, together = mode_looks(FOUR_MODES[2:]), mode_looks((*PAPER_MODES, *FOUR_MODES[2:]))
    assert all(alone[mode] == together[mode] for mode in FOUR_MODES[2:])
    seven = [*PAPER_MODES, *mode_names()[6:13]]
    looks = mode_looks(seven).values()
    assert len({(look.color, look.marker) for look in looks}) == len(seven)
    unregistered = mode_looks(["none", "x", "y", "z"])
    assert len({look.color for look in unregistered.values()}) == 4
