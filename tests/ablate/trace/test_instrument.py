"""Code that reports its operators computes what it computed before, whatever the operands are."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.instrument import ReportingFinder
from antifragile.ablate.trace.notes import Phase

TEXT = """
from pathlib import Path

import numpy as np
import torch


class Odd:
    def __sub__(self, other):
        return ("left", other)

    def __rsub__(self, other):
        return ("right", other)

    def __truediv__(self, other):
        return NotImplemented

    def __isub__(self, other):
        return ("in place", other)


class Divides:
    def __rtruediv__(self, other):
        return "reflected"


def plain():
    odd = Odd()
    odd -= 3
    third = 1 / 3 - 0.5
    names = [Odd() - 1, 1 - Odd(), Odd() / Divides(), odd, Path("a") / "b", "a" + "b", [1] * 2]
    return names, third, {1, 2} - {2}


def views(x):
    part = x[:2]
    part -= 1
    part /= 2
    part *= 3
    return x


def arrays(x):
    a = np.arange(3.0)
    a -= 1
    return a / 2, x.detach().numpy() - a, np.float32(2) * x


def same_number(x):
    return x * 1.0 * 1


def loop(x):
    state = 1
    for factor in (2, 1, 4):
        x = x * factor
        state = state * x
    return state
"""


@contextmanager
def modules(folder: Path) -> Iterator[tuple[ModuleType, ModuleType, TorchRecorder]]:
    """The file as it is, its reporting copy, and the recorder that this reports to."""
    path = folder / "odd.py"
    path.write_text(TEXT)
    recorder = TorchRecorder({"odd.py": SourceFile("odd.py", TEXT)})
    finder = ReportingFinder({path.resolve(): recorder.sources["odd.py"]}, recorder.hooks())
    specs = [
        importlib.util.spec_from_file_location("odd", path),
        finder.find_spec("odd", [str(folder)]),
    ]
    loaded = []
    for spec in specs:
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loaded.append(module)
    recorder.phase = Phase.TRAIN
    yield loaded[0], loaded[1], recorder


def test_operators_of_other_types_mean_what_they_meant(tmp_path: Path) -> None:
    with modules(tmp_path) as (plain, reporting, recorder):
        assert reporting.plain() == plain.plain()
        assert not recorder.sites or all(not notes.outputs for notes in recorder.sites.values())


def test_changes_in_place_of_a_view_reach_what_it_shows(tmp_path: Path) -> None:
    with modules(tmp_path) as (plain, reporting, _):
        x = torch.arange(4.0)
        torch.testing.assert_close(reporting.views(x.clone()), plain.views(x.clone()))


def test_arrays_and_their_numbers_mix_as_before(tmp_path: Path) -> None:
    with modules(tmp_path) as (plain, reporting, _):
        x = torch.arange(3.0)
        for one, other in zip(reporting.arrays(x), plain.arrays(x), strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
            assert type(one) is type(other)


def noted(recorder: TorchRecorder) -> list[Any]:
    """Operators that took a tensor: their operands' names, their numbers and calls."""
    return [
        SimpleNamespace(operands=set(notes.operands), arguments=notes.arguments, calls=notes.calls)
        for _, notes in sorted(recorder.sites.items())
        if notes.outputs and notes.name == "*"
    ]


def test_a_number_is_noted_beside_its_tensor(tmp_path: Path) -> None:
    with modules(tmp_path) as (_, reporting, recorder):
        reporting.same_number(torch.ones(2, 2, requires_grad=True))
        outer, inner = noted(recorder)
        assert (outer.operands, inner.operands) == ({"0"}, {"0"})
        assert (outer.arguments["1"], inner.arguments["1"]) == (1.0, 1.0)


def test_what_is_a_number_at_first_is_noted_as_the_tensor_it_becomes(tmp_path: Path) -> None:
    with modules(tmp_path) as (_, reporting, recorder):
        reporting.loop(torch.ones(2, 2, requires_grad=True))
        scaled, state = noted(recorder)
        assert (scaled.operands, scaled.arguments["1"]) == ({"0"}, 2.0)
        assert scaled.calls[Phase.TRAIN] == 3
        assert (state.operands, state.calls[Phase.TRAIN]) == ({"0", "1"}, 2)
        assert state.arguments["mixed 0"] is True
