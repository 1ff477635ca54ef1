"""Hugging Face's Perturb trains what a hand-written loop with `perturb` trains, bit for bit."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from antifragile.errors import UsageError
from antifragile.integrations.huggingface import Perturb
from antifragile.optim import presets
from tests.integrations.perturbed import MIXED, SEED, PlainLoop, adamw_in_groups, are_equal
from tests.optim.small_training import NEEDS_CLOSURE, rules_of

if TYPE_CHECKING:
    import tests.integrations.huggingface_perturbed as huggingface_perturbed


@pytest.fixture(scope="module")
def runs(transformers_are_here: None) -> huggingface_perturbed:
    """Import what needs transformers."""
    import tests.integrations.huggingface_perturbed as huggingface_perturbed

    return huggingface_perturbed


def perturbed(*rules: Any, **options: Any) -> Perturb:
    return Perturb(*(rules or (MIXED,)), seed=SEED, **options)


def plain_loop(rules: Any, **options: Any) -> PlainLoop:
    return PlainLoop(rules, optimizer=adamw_in_groups, **options)


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, {}),
        ({"gradient_accumulation_steps": 2}, {"accumulate": 2}),
        ({"max_grad_norm": 0.1}, {"clip": 0.1}),
        ({"bf16": True}, {"bf16": True}),
        (
            {"gradient_accumulation_steps": 2, "max_grad_norm": 0.1, "bf16": True},
            {"accumulate": 2, "clip": 0.1, "bf16": True},
        ),
    ],
    ids=["plain", "accumulation", "clipping", "bf16", "all"],
)
def test_options_of_the_trainer(runs: Any, tmp_path: Path, options: Any, plain: Any) -> None:
    perturb = perturbed()
    trainer = runs.train(tmp_path, perturb, **options)
    assert are_equal(runs.weights(trainer), plain_loop(MIXED, **plain).train(2).weights())
    assert perturb.handle is None


def test_evaluations_between_and_within_steps_see_clean_weights(runs: Any, tmp_path: Path) -> None:
    clean: list[torch.Tensor] = [flat(plain_loop(()).model)]
    loop = plain_loop(MIXED, per_step=lambda model: clean.append(flat(model))).train(2)
    model = runs.Digits()
    trainer = runs.train(tmp_path, perturbed(), model=model, eval_strategy="steps", eval_steps=3)
    assert are_equal(runs.weights(trainer), loop.weights())
    expected = [*clean[3::3], clean[16]]
    assert len(model.evaluated) == len(expected)
    for seen, wanted in zip(model.evaluated, expected, strict=True):
        assert torch.equal(seen, wanted)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("step", [3, 4, 6])
def test_resuming_any_checkpoint_is_exact(
    runs: Any, tmp_path: Path, step: int, accumulate: int
) -> None:
    options = {
        "save_strategy": "steps",
        "save_steps": 1,
        "gradient_accumulation_steps": accumulate,
        "lr_scheduler_type": "linear",
    }
    whole = runs.train(tmp_path / "whole", perturbed(), **options)
    folder = str(tmp_path / "whole" / f"checkpoint-{step}")
    again = runs.train(tmp_path / "again", Perturb(MIXED), resume=folder, **options)
    assert are_equal(runs.weights(again), runs.weights(whole))
    without = runs.train(tmp_path / "without", None, **options)
    assert not are_equal(runs.weights(without), runs.weights(whole))


def test_checkpoints_and_the_best_model_are_clean(runs: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    seen: list[torch.Tensor] = []
    plain_loop(MIXED, per_step=lambda model: seen.append(flat(model))).train(2)
    trainer = runs.train(
        tmp_path,
        perturbed(),
        eval_strategy="steps",
        eval_steps=3,
        save_strategy="steps",
        save_steps=3,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # so that the best is not the last
    )
    for step in (3, 6, 9):
        saved = load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors")
        kept = torch.cat([saved[name].flatten() for name in trainer.model.state_dict()])
        assert torch.equal(kept, seen[step - 1])
    best = int(Path(trainer.state.best_model_checkpoint).name.split("-")[1])
    assert best < 15
    assert torch.equal(flat(trainer.model), seen[best - 1])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_exception_weights_are_clean_for_whoever_uses_the_model(
    runs: Any, tmp_path: Path, error: Any
) -> None:
    seen: list[torch.Tensor] = []
    plain_loop(MIXED, per_step=lambda model: seen.append(flat(model))).train(1)

    class Failing(runs.Digits):
        calls = 0

        def forward(self, pixels: Any, labels: Any) -> Any:
            self.calls += 1
            if self.calls == 5:
                raise error("stop")
            return super().forward(pixels, labels)

    model, perturb = Failing(), perturbed()
    with pytest.raises(error), perturb:
        runs.train(tmp_path, perturb, model=model)
    assert perturb.handle is None
    assert torch.equal(flat(model), seen[3])

    model = Failing()
    with pytest.raises(error):
        runs.train(tmp_path, perturb, model=model)
    saved = torch.cat([value.flatten() for value in model.state_dict().values()])
    assert torch.equal(saved, seen[3])
    model = runs.Digits()
    trainer = runs.train(tmp_path, perturb, model=model, epochs=1)  # the same callback again
    assert torch.equal(flat(trainer.model), seen[-1])


def test_many_trainings_by_one_trainer_and_by_many_are_alike(runs: Any, tmp_path: Path) -> None:
    from transformers import EarlyStoppingCallback

    expected = plain_loop(MIXED).train(2).weights()
    perturb = perturbed()
    trainer = runs.train(tmp_path, perturb, model=runs.Digits)  # a function that makes models
    ends = [runs.weights(trainer)]
    for _ in range(2):  # as a search over hyperparameters starts them, some of them cut short
        runs.train(
            tmp_path,
            perturb,
            EarlyStoppingCallback(1, 9.0),
            epochs=5,
            eval_strategy="epoch",
            save_strategy="epoch",
            metric_for_best_model="eval_loss",
            load_best_model_at_end=True,
        )
        trainer.train()
        ends.append(runs.weights(trainer))
    assert [are_equal(end, expected) for end in ends] == [True] * 3


def test_a_compiled_model(runs: Any, tmp_path: Path) -> None:
    trainer = runs.train(tmp_path, perturbed(), torch_compile=True, torch_compile_backend="eager")
    assert are_equal(runs.weights(trainer), plain_loop(MIXED).train(2).weights())


def test_copies_are_clean_and_hooks_go(runs: Any, tmp_path: Path) -> None:
    from transformers import TrainerCallback

    class Copying(TrainerCallback):
        copies: list[nn.Module] = []  # noqa: RUF012

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self.copies.append(copy.deepcopy(given["model"]))

    clean = [flat(plain_loop(()).model)]
    plain_loop(MIXED, per_step=lambda model: clean.append(flat(model))).train(1)
    trainer = runs.train(tmp_path, perturbed(), Copying(), epochs=1)
    for copied, expected in zip(Copying.copies, clean[:-1], strict=True):
        assert torch.equal(flat(copied), expected)
    assert not any(part._forward_pre_hooks for part in trainer.model.modules())
    assert pickle.loads(pickle.dumps(perturbed())).rules == MIXED


def test_input_noise_of_a_language_model_enters_a_named_part(runs: Any, tmp_path: Path) -> None:
    ends = []
    for scale in (0.0, 0.1, 0.1):
        rules = presets.input_noise(scale) if scale else presets.annealed_gradient_noise(0.0)
        perturb = perturbed(rules, network="model.layers.0")
        ends.append(runs.weights(runs.train_text(tmp_path, perturb)))
    assert not are_equal(ends[0], ends[1])
    assert are_equal(ends[1], ends[2])
    with pytest.raises(UsageError, match=r"network='model' names where noise enters the inputs"):
        perturbed(network="model")


def test_token_ids_get_noise_in_their_embedding(runs: Any, tmp_path: Path) -> None:
    rules = (presets.annealed_gradient_noise(0.0), presets.neftune(), presets.input_noise(0.1))
    ends = [runs.weights(runs.train_text(tmp_path, perturbed(rule))) for rule in rules]
    assert not are_equal(ends[0], ends[1])
    assert not are_equal(ends[0], ends[2])
    with pytest.raises(UsageError, match="found no argument 'pixels' among those of the model's"):
        runs.train_text(tmp_path, perturbed(presets.neftune(inputs="pixels")))


@pytest.mark.parametrize("preset", NEEDS_CLOSURE)
def test_exact_sam_is_refused_at_once(runs: Any, preset: str) -> None:
    message = r"calls optimizer.step\(\) without a closure, .* use sam_lagged, asam_lagged or msam"
    with pytest.raises(UsageError, match=message):
        Perturb(rules_of(preset))


@pytest.mark.parametrize(("name", "value"), [("deepspeed", "x.json"), ("fsdp", "full_shard")])
def test_sharding_is_refused(runs: Any, name: str, value: str) -> None:
    class FakeArguments:
        n_gpu, deepspeed, fsdp = 1, None, None

    arguments = FakeArguments()
    setattr(arguments, name, value)
    with pytest.raises(UsageError, match=f"{name}= shards the weights over processes"):
        perturbed().on_init_end(arguments, None, None)


def test_copying_the_model_to_several_gpus_is_refused(runs: Any) -> None:
    class FakeArguments:
        n_gpu, deepspeed, fsdp = 2, None, None

    with pytest.raises(UsageError, match=r"to 2 GPUs by nn.DataParallel before .* torchrun"):
        perturbed().on_init_end(FakeArguments(), None, None)
