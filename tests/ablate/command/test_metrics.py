"""Metrics that a command leaves: the right value, none, several, not a number; a sentence each."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.ablate.study.request import is_higher_better
from antifragile.errors import UsageError

FILES = {
    "m.json": '{"val_loss": 0.5, "final": {"acc.top1": 91, "folds": [1, 2.5]}, "name": "x"}',
    "bad.json": "{",
    "nan.json": '{"val_loss": NaN}',
    "log.jsonl": '{"val_loss": 3}\n{"val_loss": 2.5}\n{"train_loss": 1}\n',
    "nan.csv": "epoch,val_loss\n1,0.5\n2,nan\n",
    "twice.json": '{"val_loss": 3, "val_loss": 4}',
    "log.csv": "epoch, val_loss, train_loss\n1, 0.9, 1.0\n2, 0.7, 0.8\n3, , 0.6\n",
    "empty.csv": "epoch,val_loss\n",
}
PRINTED = "epoch 1 val loss 0.9\nepoch 2 val loss 0.75\nacc: nan\n"


def value(text: str, folder: Path) -> float:
    out, run = folder / "out", folder / "run"
    for place in (out, run):
        place.mkdir(exist_ok=True)
    for name, content in FILES.items():
        (out / name).write_text(content)
    (run / "stdout.txt").write_text(PRINTED)
    (run / "stderr.txt").write_text("")
    source, places = MetricSource.read(text), {"out": str(out), "seed": "1", "order": "2"}
    return source.picked(source.values(places, folder, run))


@pytest.mark.parametrize(
    ("text", "expected", "name"),
    [
        ("json:{out}/m.json:val_loss", 0.5, "val_loss"),
        ("json:out/m.json:val_loss", 0.5, "val_loss"),
        ("json:{out}/m.json:final.acc.top1", 91.0, "final.acc.top1"),
        ("json:{out}/m.json:final.folds.1", 2.5, "final.folds.1"),
        ("json:{out}/log.jsonl:val_loss", 2.5, "val_loss"),
        ("json:{out}/twice.json:val_loss", 4.0, "val_loss"),
        ("csv:{out}/log.csv:val_loss", 0.7, "val_loss"),
        ("csv:{out}/log.csv:train_loss", 0.6, "train_loss"),
        ("regex:val loss ([0-9.]+)", 0.75, "val_loss"),
        ("regex:epoch 1 val loss ([0-9.]+)", 0.9, "epoch_val_loss"),
        ("csv:{out}/log.csv:val_loss@min", 0.7, "val_loss@min"),
        ("csv:{out}/log.csv:val_loss@max", 0.9, "val_loss@max"),
        ("csv:{out}/log.csv:train_loss@first", 1.0, "train_loss@first"),
        ("csv:{out}/log.csv:train_loss@last", 0.6, "train_loss"),
        ("csv:{out}/nan.csv:val_loss@max", 0.5, "val_loss@max"),
        ("regex:val loss ([0-9.]+)@max", 0.9, "val_loss@max"),
    ],
)
def test_one_of_several_values_is_read(
    text: str, expected: float, name: str, tmp_path: Path
) -> None:
    assert value(text, tmp_path) == expected
    assert MetricSource.read(text).name == name


@pytest.mark.parametrize(
    "text",
    ["json:{out}/nan.json:val_loss", "csv:{out}/nan.csv:val_loss", "regex:acc: (\\S+)"],
)
def test_a_value_that_is_not_finite_is_a_value(text: str, tmp_path: Path) -> None:
    assert math.isnan(value(text, tmp_path))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("json:{out}/none.json:val_loss", "the command left no none.json"),
        ("json:{out}/m.json:val_los", "is not in the file: no 'val_los'; did you mean 'val_loss'?"),
        ("json:{out}/m.json:name", "must be a number; got 'x'"),
        ("json:{out}/m.json:final", "must be a number; got {"),
        ("json:{out}/bad.json:val_loss", "is no JSON"),
        ("csv:{out}/log.csv:val_los", "is no column of the file; did you mean 'val_loss'?"),
        ("csv:{out}/empty.csv:val_loss", "is no column of the file; it has no rows"),
        ("regex:test loss ([0-9.]+)", "nothing that the command printed matches"),
        ("regex:(epoch)", "must be a number; got 'epoch'"),
    ],
)
def test_a_missing_value_is_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        value(text, tmp_path)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("text", ["json:m.json:val_loss", "csv:log.csv:val_loss"])
def test_what_was_there_before_the_command_is_not_its_metric(text: str, tmp_path: Path) -> None:
    source, places = MetricSource.read(text), {"out": "", "seed": "1", "order": "2"}
    path = tmp_path / text.split(":")[1]
    assert source.earlier(places, tmp_path) == {}
    path.write_text(FILES[path.name])
    assert source.values(places, tmp_path, tmp_path, {})[-1] in (0.5, 0.7)
    earlier = source.earlier(places, tmp_path)
    with pytest.raises(Refusal, match=rf"left {path.name}, which .* reads, as it was before"):
        source.values(places, tmp_path, tmp_path, earlier)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # the same number, written again
    assert source.values(places, tmp_path, tmp_path, earlier)[-1] in (0.5, 0.7)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("val_loss", "names no place"),
        ("yaml:a:b", "names no place"),
        ("json:val_loss", "lacks a file or a name; write json:FILE:NAME"),
        ("regex:loss", "has 0 groups; put the number, and it alone, in parentheses"),
        ("regex:(", "is no pattern"),
        ("csv:{ou}/log.csv:val_loss", "unknown place {ou}"),
        ("csv:{out}/log.csv:val_mae@mn", "ends with @mn; did you mean @min? For a name that ends"),
        ("regex:val loss ([0-9.]+)@Max", "ends with @Max; did you mean @max?"),
    ],
)
def test_what_is_no_source_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        MetricSource.read(text)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("csv:log.csv:recall@5", "recall@5"),
        ("csv:log.csv:hits@k@min", "hits@k@min"),
        ("csv:log.csv:loss@mn@last", "loss@mn"),
        ("json:runs@home/m.json:loss", "loss"),
    ],
)
def test_a_name_may_hold_an_at_sign(text: str, name: str) -> None:
    assert MetricSource.read(text).name == name


@pytest.mark.parametrize(
    ("name", "is_higher"),
    [
        *[(name, False) for name in ("loss", "val_loss", "val/loss", "valLoss", "test-RMSE")],
        *[(name, False) for name in ("val_loss@min", "eval.nll", "WER")],
        *[(name, True) for name in ("accuracy", "lossless", "F1", "val/acc@max", "power")],
    ],
)
def test_losses_and_errors_should_be_low(name: str, is_higher: bool) -> None:
    assert is_higher_better(name) == is_higher
