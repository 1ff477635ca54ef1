"""Wrong use gets one clear sentence, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from antifragile import FrustrationEngine
from antifragile.errors import CheckpointError, UsageError
from tests.engine.frustration.small_training import evaluate, small_model, train_epoch

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (NAN, "evaluate returned nan, which cannot be compared; the last known good state is kept"),
        (float("inf"), "evaluate returned inf, which cannot be compared"),
        (torch.tensor([0.5]), r"evaluate returned a tensor of shape \(1,\); return a float"),
        (torch.tensor(0.5), r"evaluate returned a tensor of shape \(\); return a float"),
        (None, "evaluate returned None, expected a number such as 0.93"),
        ("0.9", "evaluate returned '0.9', expected a number"),
        (True, "evaluate returned True, expected a number"),
    ],
)
def test_a_score_that_cannot_be_compared_loses_nothing(value: object, message: str) -> None:
    answers: list[object] = []

    def sometimes(model: nn.Module) -> object:
        score = evaluate(model)
        return answers.pop() if answers else score

    run = FrustrationEngine(small_model(), train_epoch, sometimes)  # type: ignore[arg-type]
    first = list(run.run(2))
    answers.append(value)
    with pytest.raises(UsageError, match=message):
        list(run.run(3))
    assert run.meta_loop == 2
    assert evaluate(run.best()) == first[-1].bounty
    assert [record.meta_loop for record in run.run(3)] == [3]


def put_new_weight(model: nn.Module) -> None:
    model[6].weight = nn.Parameter(torch.zeros(3, 8))  # type: ignore[index]


def put_new_layer(model: nn.Module) -> None:
    model[6] = nn.Linear(8, 3)  # type: ignore[operator]


@pytest.mark.parametrize("replace", [put_new_weight, put_new_layer])
def test_a_function_that_replaces_the_model_is_found(replace: Callable[[nn.Module], None]) -> None:
    with pytest.raises(UsageError, match=r"train_epoch replaced '6\.weight' of the model; train"):
        list(FrustrationEngine(small_model(), replace, evaluate).run(1))


def test_a_model_without_units_of_the_asked_kind_is_told_why() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 2))
    message = r"mode 'hidden' needs hidden units, and the model has none .*0: all its channels are"
    with pytest.raises(UsageError, match=message):
        list(on_vectors(model, "hidden").run(2))
    assert len(list(on_vectors(model, "output").run(2))) == 2


def on_vectors(model: nn.Module, mode: str) -> FrustrationEngine:
    return FrustrationEngine(
        model, lambda m: None, lambda m: m(torch.ones(3, 4)).sum().item(), mode=mode
    )


def test_a_model_that_is_never_called_needs_its_inputs() -> None:
    def parts(model: nn.Module) -> float:
        return model[0](torch.ones(1, 1, 6, 6)).sum().item()  # type: ignore[index,operator]

    with pytest.raises(UsageError, match=r"evaluate never called the model itself.*inputs="):
        list(FrustrationEngine(small_model(), train_epoch, parts).run(2))


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("hiden", "unknown mode 'hiden'; did you mean 'hidden'"),
        ("hidden+persistent", r"'hidden\+persistent' keeps the optimizer's memory; give optimizer"),
        ("none+continuous", r"keeps the optimizer's memory; give optimizer"),
        ("none+restart=3", "needs fresh networks; give fresh="),
        ("hidden+reinit", "needs fresh networks; give fresh="),
        ("hidden+least-gradient", "ranks units by their gradients; give loss=, a function of the"),
        ("redo", "draws neurons anew between the updates of an epoch, which is done for the paper"),
        ("none:2,snr:2", "mode 'snr' draws neurons anew"),
        ("none+learning-rate=0.1", "decides a learning rate or an initialisation, which are your"),
        ("anti_pgd", "perturbs the update equation; use mode 'none', and antifragile.perturb"),
        ("author-hidden", "hits neurons as the paper's author did in his residual networks"),
    ],
)
def test_a_mode_that_needs_what_was_not_given_is_refused_at_once(mode: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FrustrationEngine(small_model(), train_epoch, evaluate, mode=mode)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the model is a dict, expected a torch\.nn\.Module"):
        FrustrationEngine({}, train_epoch, evaluate)  # type: ignore[arg-type]


def test_an_unknown_layer_is_refused_by_name() -> None:
    message = "layers names 'fc9', which the model does not have; expected one of"
    for mode in ("none", "hidden"):
        with pytest.raises(UsageError, match=message):
            FrustrationEngine(small_model(), train_epoch, evaluate, mode=mode, layers=["fc9"])


def test_a_layer_without_units_is_refused_by_name() -> None:
    run = FrustrationEngine(small_model(), train_epoch, evaluate, layers=["6"])
    with pytest.raises(UsageError, match=r"layer '6' has no hidden units; .* '0', '4'"):
        list(run.run(2))


def test_an_optimizer_of_another_model_is_refused() -> None:
    other = torch.optim.SGD(small_model().parameters())
    with pytest.raises(UsageError, match="optimizer= trains no parameter of the model"):
        FrustrationEngine(small_model(), train_epoch, evaluate, optimizer=other)


def test_a_loss_that_is_no_number_ranks_nothing() -> None:
    run = FrustrationEngine(
        small_model(),
        train_epoch,
        evaluate,
        mode="hidden+least-gradient",
        loss=lambda model: model(torch.full((1, 1, 6, 6), NAN)).sum(),
    )
    with pytest.raises(UsageError, match="loss returned nan, which ranks no unit"):
        list(run.run(2))


def test_nothing_is_best_or_saved_before_the_first_meta_loop(tmp_path: Path) -> None:
    run = FrustrationEngine(small_model(), train_epoch, evaluate)
    for call in (run.best, lambda: run.save(tmp_path / "e.safetensors"), lambda: run.bounty):
        with pytest.raises(UsageError, match="no meta-loop was run yet"):
            call()


def saved(tmp_path: Path, **options: object) -> Path:
    path = tmp_path / "engine.safetensors"
    run = FrustrationEngine(small_model(), train_epoch, evaluate, **options)  # type: ignore[arg-type]
    list(run.run(3))
    run.save(path)
    return path


def test_a_unit_that_is_gone_at_resume_is_named(tmp_path: Path) -> None:
    path, model = saved(tmp_path), small_model()
    model[0].weight.requires_grad_(False)  # type: ignore[index,union-attr]
    run = FrustrationEngine.resume(path, model, train_epoch, evaluate)
    with pytest.raises(UsageError, match=r"unit .* was there when the run was saved and is gone"):
        list(run.run(4))
    assert run.meta_loop == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no file at"), (b"abc", "is not a file by engine.save, or is damaged")],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        FrustrationEngine.resume(path, small_model(), train_epoch, evaluate)


def test_a_file_of_another_model_changes_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path)
    other = nn.Sequential(nn.Linear(3, 3))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"belongs to another model: '0\.bias' is"):
        FrustrationEngine.resume(path, other, train_epoch, evaluate)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_an_optimizer_is_given_again_at_resume(tmp_path: Path) -> None:
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters())
    path = tmp_path / "engine.safetensors"
    run = FrustrationEngine(model, train_epoch, evaluate, optimizer=optimizer)
    list(run.run(2))
    run.save(path)
    with pytest.raises(CheckpointError, match="was saved with an optimizer=; give the same"):
        FrustrationEngine.resume(path, model, train_epoch, evaluate)
    other = torch.optim.SGD(model.parameters())
    with pytest.raises(CheckpointError, match="belongs to another optimizer"):
        FrustrationEngine.resume(path, model, train_epoch, evaluate, optimizer=other)


def test_decay_without_an_optimizer_is_refused() -> None:
    def by_hand(model: nn.Module) -> None:
        train_epoch(model, torch.optim.SGD([torch.zeros(1, requires_grad=True)]))

    run = FrustrationEngine(small_model(), by_hand, evaluate, mode="decay")
    with pytest.raises(UsageError, match="acts at the steps of a torch optimizer, and"):
        list(run.run(1))


def test_dropout_before_a_layer_that_is_never_called_is_refused() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows = images.squeeze(1)
            return self.head(self.mix(rows, rows, rows)[0].mean(1))

    run = FrustrationEngine(Attention(), train_epoch, evaluate, mode="dropout")
    with pytest.raises(UsageError, match=r"what 'mix.out_proj' reads, since the model does"):
        list(run.run(1))


def test_a_layer_that_is_frozen_later_is_not_damaged() -> None:
    model = small_model()
    run = FrustrationEngine(model, train_epoch, evaluate)
    list(run.run(2))
    for value in model.parameters():
        value.requires_grad_(False)
    with pytest.raises(UsageError, match="was frozen after the units were found"):
        list(run.run(3))


@pytest.mark.parametrize("made", [None, "the model itself"])
def test_fresh_returns_a_new_model(made: object) -> None:
    model = small_model()
    run = FrustrationEngine(
        model, train_epoch, evaluate, mode="none+restart=1", fresh=lambda: made and model
    )
    with pytest.raises(UsageError, match=f"returned {made}, expected a new model each time"):
        list(run.run(2))
