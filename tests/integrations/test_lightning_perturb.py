"""Lightning's Perturb trains what a hand-written loop with `perturb` trains, bit for bit."""

from __future__ import annotations

import copy
import pickle
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from antifragile.errors import UsageError
from antifragile.integrations.lightning import Perturb
from antifragile.optim import presets
from tests.integrations.needed import LIGHTNING_WARNINGS
from tests.integrations.perturbed import (
    LAGGED,
    MIXED,
    N_BATCHES,
    SEED,
    PlainLoop,
    are_equal,
    batches,
)
from tests.optim.small_training import NEEDS_CLOSURE, rules_of

if TYPE_CHECKING:
    import tests.integrations.lightning_perturbed as lightning_perturbed

pytestmark = [pytest.mark.filterwarnings(line) for line in LIGHTNING_WARNINGS]


@pytest.fixture(scope="module")
def runs(lightning_is_here: None) -> lightning_perturbed:
    """Import what needs Lightning."""
    import tests.integrations.lightning_perturbed as lightning_perturbed

    return lightning_perturbed


def perturbed(*rules: Any, **options: Any) -> Perturb:
    return Perturb(*(rules or (MIXED,)), seed=SEED, **options)


KINDS = ("Parts", "Whole", "Halves", "Listed", "Manual")


@pytest.mark.parametrize("kind", KINDS)
def test_modules_of_every_kind_are_trained_as_by_hand(runs: Any, kind: str) -> None:
    module, perturb = getattr(runs, kind)(), perturbed()
    runs.fit(perturb, module=module)
    assert are_equal(runs.weights(module), PlainLoop(MIXED).train(2).weights())
    assert perturb.handle is None


@pytest.mark.parametrize("preset", NEEDS_CLOSURE)
def test_exact_sam_takes_the_closure_of_automatic_optimisation(runs: Any, preset: str) -> None:
    rules = rules_of(preset)
    trainer = runs.fit(perturbed(rules), gradient_clip_val=0.5)
    assert are_equal(
        runs.weights(trainer), PlainLoop(rules, closure=True, clip=0.5).train(2).weights()
    )


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({"accumulate_grad_batches": 3}, {"accumulate": 3}),
        ({"gradient_clip_val": 0.1}, {"clip": 0.1}),
        ({"precision": "bf16-mixed"}, {"bf16": True}),
        (
            {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1, "precision": "bf16-mixed"},
            {"accumulate": 3, "clip": 0.1, "bf16": True},
        ),
    ],
    ids=["accumulation", "clipping", "bf16", "all"],
)
def test_options_of_the_trainer(runs: Any, options: Any, plain: Any) -> None:
    trainer = runs.fit(perturbed(), **options)
    assert are_equal(runs.weights(trainer), PlainLoop(MIXED, **plain).train(2).weights())


def test_schedules_run_on(runs: Any) -> None:
    trainer = runs.fit(perturbed(), module=runs.Parts(schedules=True))
    assert are_equal(runs.weights(trainer), PlainLoop(MIXED, schedules=True).train(2).weights())


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("kind", KINDS)
def test_validations_between_and_within_steps_see_clean_weights(runs: Any, kind: str) -> None:
    module, accumulate = getattr(runs, kind)(), 1 if kind == "Manual" else 2
    options = {} if accumulate == 1 else {"accumulate_grad_batches": accumulate}
    runs.fit(
        perturbed(),
        module=module,
        epochs=1,
        val_check_interval=3,
        num_sanity_val_steps=1,
        **options,
    )
    clean: list[torch.Tensor] = [flat(PlainLoop(()).model)]
    loop = PlainLoop(MIXED, accumulate=accumulate, per_step=lambda model: clean.append(flat(model)))
    loop.train(1)
    expected = [clean[0], *(clean[batch // accumulate] for batch in (3, 6))]
    assert [torch.equal(a, b) for a, b in zip(module.validated, expected, strict=True)] == [
        True
    ] * 3
    assert are_equal(runs.weights(module), loop.weights())


@pytest.mark.parametrize("after", [3, 8, 11])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resuming_any_checkpoint_is_exact(
    runs: Any, tmp_path: Path, after: int, accumulate: int
) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    def saving() -> Any:
        return ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)

    options = {"accumulate_grad_batches": accumulate, "epochs": 2}
    seen: list[torch.Tensor] = []
    loop = PlainLoop(MIXED, accumulate=accumulate, per_step=lambda m: seen.append(flat(m)))
    loop.train(2)
    runs.fit(perturbed(), saving(), **options)
    step = after if accumulate == 1 else after // 2
    file = tmp_path / f"step={step}.ckpt"
    saved = torch.load(file, weights_only=False)["state_dict"]
    values = torch.cat([value.flatten() for value in saved.values()])
    assert torch.equal(values, seen[step - 1])
    again = runs.fit(Perturb(MIXED), resume=file, **options)
    assert are_equal(runs.weights(again), loop.weights())


def test_a_training_that_had_ended_goes_on_from_a_checkpoint_and_in_the_same_trainer(
    runs: Any, tmp_path: Path
) -> None:
    expected = PlainLoop(MIXED).train(3).weights()
    module, perturb = runs.Parts(), perturbed()
    trainer = runs.fit(perturb, module=module, epochs=2)
    trainer.save_checkpoint(tmp_path / "ended.ckpt")
    again = runs.fit(perturbed(), epochs=3, resume=tmp_path / "ended.ckpt")
    assert are_equal(runs.weights(again), expected)

    trainer.fit_loop.max_epochs = 3
    steps: list[int] = []
    module.on_train_batch_start = lambda *_: steps.append(perturb.handle.step_number)
    runs.fit(module=module, trainer=trainer)
    assert steps == list(range(2 * N_BATCHES, 3 * N_BATCHES))


def test_a_checkpoint_at_the_end_of_training_has_the_state_once(runs: Any, tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    runs.fit(perturbed(), ModelCheckpoint(tmp_path, save_last=True), epochs=2)
    again = runs.fit(perturbed(), epochs=3, resume=tmp_path / "last.ckpt")
    assert are_equal(runs.weights(again), PlainLoop(MIXED).train(3).weights())


@pytest.mark.parametrize("comes_first", [True, False])
def test_a_moving_average_is_of_clean_weights(runs: Any, comes_first: bool) -> None:
    from lightning.pytorch.callbacks import EMAWeightAveraging

    averages: list[torch.Tensor] = []
    loop = PlainLoop(
        MIXED,
        accumulate=2,
        per_step=lambda model: (
            average.update_parameters(model),
            averages.append(flat(average.module)),
        ),
    )
    average = AveragedModel(loop.model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    loop.train(2)
    module = runs.Parts()
    both = [perturbed(), EMAWeightAveraging(decay=0.9)]
    runs.fit(
        *(both if comes_first else both[::-1]),
        module=module,
        accumulate_grad_batches=2,
        val_check_interval=3,
        num_sanity_val_steps=0,
    )
    assert torch.allclose(flat(module), averages[-1], rtol=1e-6, atol=1e-7)
    expected = [averages[i] for i in (0, 2, 4, 6)]
    assert len(module.validated) == 4
    for seen, wanted in zip(module.validated, expected, strict=True):
        assert torch.allclose(seen, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("comes_first", [True, False])
def test_stochastic_weight_averages_and_their_statistics_are_of_clean_weights(
    runs: Any, comes_first: bool
) -> None:
    from lightning.pytorch.callbacks import Callback, StochasticWeightAveraging

    class Normed(runs.Parts):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(3)
                self.net = nn.Sequential(
                    nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10)
                )

    starts: list[torch.Tensor] = []

    class Watch(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            starts.append(flat(pl_module))

    module = Normed()
    both = [perturbed(LAGGED, presets.input_noise()), StochasticWeightAveraging(0.01, 2)]
    runs.fit(Watch(), *(both if comes_first else both[::-1]), module=module, epochs=4)
    average = starts[1]
    for n, start in enumerate(starts[2:4], start=1):
        average = average + (start - average) / (n + 1)
    assert torch.allclose(flat(module), average, rtol=1e-6, atol=1e-7)
    measured = copy.deepcopy(module.net)
    update_bn(batches(), measured)
    assert torch.allclose(module.net[2].running_mean, measured[2].running_mean, atol=1e-6)
    assert torch.allclose(module.net[2].running_var, measured[2].running_var, atol=1e-6)


def has_no_hooks(module: nn.Module) -> bool:
    names = ("_forward_pre_hooks", "_forward_hooks", "_state_dict_pre_hooks")
    return not any(getattr(part, name) for part in module.modules() for name in names)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_clean_weights_and_no_hooks(runs: Any, error: Any) -> None:
    seen: list[torch.Tensor] = []
    PlainLoop(MIXED, per_step=lambda model: seen.append(flat(model))).train(1)

    class Failing(runs.Parts):
        def training_step(self, batch: Any, number: int) -> Any:
            loss = super().training_step(batch, number)
            if number == 4:
                raise error("stop")
            return loss

    module, perturb = Failing(), perturbed()
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((error, SystemExit)):
            runs.fit(perturb, module=module)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert perturb.handle is None
    assert has_no_hooks(module)
    assert torch.equal(flat(module), seen[3])


def test_the_end_leaves_no_hooks_and_a_module_that_can_be_copied(runs: Any) -> None:
    module, perturb = runs.Whole(), perturbed()
    runs.fit(perturb, module=module, epochs=1)
    assert has_no_hooks(module)
    assert are_equal(runs.weights(copy.deepcopy(module)), runs.weights(module))
    copied = pickle.loads(pickle.dumps(perturb))
    assert isinstance(copied, Perturb)
    assert copied.rules == perturb.rules


def test_a_copy_in_the_middle_is_clean_and_stays_so(runs: Any) -> None:
    from lightning.pytorch.callbacks import Callback

    copies: list[nn.Module] = []

    class Copying(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            copies.append(copy.deepcopy(pl_module.net))

    clean = [flat(PlainLoop(()).model)]
    loop = PlainLoop(MIXED, per_step=lambda model: clean.append(flat(model))).train(1)
    module = runs.Parts()
    runs.fit(perturbed(), Copying(), module=module, epochs=1)
    assert are_equal(runs.weights(module), loop.weights())
    for copied, expected in zip(copies, clean[:-1], strict=True):
        assert torch.equal(flat(copied.train()), expected)
        copied(batches()[0][0])
        assert torch.equal(flat(copied), expected)


def test_many_trainings_in_one_process_are_alike(runs: Any) -> None:
    from lightning.pytorch.callbacks import EarlyStopping

    ends = []
    for _ in range(3):  # as a search over hyperparameters starts them, some of them cut short
        runs.fit(perturbed(), EarlyStopping("val_loss", patience=0, min_delta=1e9), epochs=4)
        ends.append(runs.weights(runs.fit(perturbed(), epochs=1)))
    expected = PlainLoop(MIXED).train(1).weights()
    assert [are_equal(end, expected) for end in ends] == [True] * 3
    derived = [runs.weights(runs.fit(Perturb(MIXED), epochs=1)) for _ in range(2)]
    assert are_equal(*derived)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("kind", ["Parts", "Whole"])
def test_a_compiled_module(runs: Any, kind: str) -> None:
    module = getattr(runs, kind)()
    runs.fit(perturbed(), module=torch.compile(module, backend="eager"), epochs=1)
    assert are_equal(runs.weights(module), PlainLoop(MIXED).train(1).weights())


@pytest.mark.parametrize("kind", ["Parts", "Whole"])
def test_a_step_that_is_sent_through_a_wrapper_gets_its_input_noise_once(
    runs: Any, kind: str
) -> None:
    """Lightning calls the module's forward twice where another module wraps it, as DDP does."""
    from lightning.pytorch.strategies.strategy import _ForwardRedirection

    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *args: Any) -> Any:
            return self.module(*args)

    seen: list[torch.Tensor] = []
    module = getattr(runs, kind)()
    module.net[0].register_forward_pre_hook(lambda part, args: seen.append(args[0]))

    class FakeTrainer:
        optimizers = (torch.optim.SGD(module.parameters(), 0.1),)

    perturb = perturbed(presets.input_noise())
    perturb.on_fit_start(FakeTrainer(), module)
    x, y = batches()[0]
    module.training_step([x, y], 0)
    perturb.on_fit_start(FakeTrainer(), module)
    _ForwardRedirection()(Wrapper(module), module, "training_step", [x, y], 0)
    assert not torch.equal(seen[0], x)
    assert torch.equal(*seen)


def two_optimizers(runs: Any) -> Any:
    class Two(runs.Manual):
        def training_step(self, batch: Any, number: int) -> None:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(nn.functional.cross_entropy(self.net(batch[0]), batch[1]))
                optimizer.step()

        def configure_optimizers(self) -> Any:
            parts = (self.net[:3].parameters(), self.net[3:].parameters())
            return [torch.optim.SGD(part, 0.1) for part in parts]

    return Two()


def test_of_several_optimizers_one_must_be_named(runs: Any) -> None:
    with pytest.raises(UsageError, match=r"returned 2 optimizers; say which is perturbed, as in"):
        runs.fit(perturbed(), module=two_optimizers(runs))
    with pytest.raises(UsageError, match="optimizer=2, and configure_optimizers returned 2"):
        runs.fit(perturbed(optimizer=2), module=two_optimizers(runs))
    module, both = two_optimizers(runs), [perturbed(optimizer=n) for n in (0, 1)]
    trainer = runs.fit(*both, module=module, epochs=1)
    plain = two_optimizers(runs)
    runs.fit(module=plain, epochs=1)
    assert not any(
        torch.equal(*pair) for pair in zip(module.parameters(), plain.parameters(), strict=True)
    )
    assert len(trainer._checkpoint_connector.dump_checkpoint()["callbacks"]) == 2


def test_a_fit_that_has_nothing_to_do_leaves_no_trace(runs: Any, tmp_path: Path) -> None:
    module, perturb = runs.Parts(), perturbed()
    trainer = runs.fit(perturb, module=module, epochs=2)
    trainer.save_checkpoint(tmp_path / "ended.ckpt")
    idle = runs.Parts()
    again = runs.fit(perturbed(), module=idle, epochs=2, resume=tmp_path / "ended.ckpt")
    assert has_no_hooks(idle)
    again.save_checkpoint(tmp_path / "again.ckpt")
    further = runs.fit(perturbed(), epochs=3, resume=tmp_path / "again.ckpt")
    assert are_equal(runs.weights(further), PlainLoop(MIXED).train(3).weights())


def test_the_search_of_a_learning_rate_leaves_no_trace(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch import Trainer
    from lightning.pytorch.tuner import Tuner

    monkeypatch.chdir(tmp_path)
    module, perturb = runs.Parts(), perturbed()
    module.lr = 0.01
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=2, accelerator="cpu", callbacks=[perturb], **options)
    loader = torch.utils.data.DataLoader(batches(), batch_size=None)
    Tuner(trainer).lr_find(module, loader, loader, num_training=5, update_attr=False)
    assert perturb.handle is None
    assert has_no_hooks(module)
    runs.fit(module=module, trainer=trainer)
    assert are_equal(runs.weights(module), PlainLoop(MIXED).train(2).weights())


def test_a_module_that_steps_nothing_is_refused(runs: Any) -> None:
    module = runs.Parts()
    module.configure_optimizers = lambda: []
    with pytest.raises(UsageError, match="returned no optimizer to perturb"):
        runs.fit(perturbed(), module=module)


def test_exact_sam_is_refused_where_gradients_are_not_whole(runs: Any) -> None:
    with pytest.raises(UsageError, match=r"accumulate_grad_batches=2 spreads .* use sam_lagged or"):
        runs.fit(perturbed(presets.sam()), accumulate_grad_batches=2)
    with pytest.raises(UsageError, match=r"or took none; clear and take them in the closure"):
        runs.fit(perturbed(presets.sam()), module=runs.Manual())


def test_parts_that_nobody_calls_are_named(runs: Any) -> None:
    class Deep(runs.Parts):
        def __init__(self) -> None:
            super().__init__()
            self.deep = nn.ParameterDict()
            self.net = nn.Sequential(nn.Sequential(*self.net))

        def scores(self, x: Any) -> Any:
            return self.net[0](x)

    with pytest.raises(UsageError, match=r"a trainer's callback its name, as network="):
        runs.fit(perturbed(), module=Deep())
    module = Deep()
    runs.fit(perturbed(network="net.0"), module=module)
    assert are_equal(runs.weights(module), PlainLoop(MIXED).train(2).weights())
    with pytest.raises(UsageError, match="the model has no part network='body'; its parts are"):
        runs.fit(perturbed(network="body"), module=Deep())


def test_sharding_is_refused(runs: Any) -> None:
    class FakeFSDPStrategy:
        pass

    class FakeTrainer:
        strategy, global_step, ckpt_path = FakeFSDPStrategy(), 0, None

    with pytest.raises(UsageError, match="FakeFSDPStrategy shards the weights over processes"):
        perturbed().setup(FakeTrainer(), None, "fit")


def test_wrong_rules_are_refused_at_once(runs: Any) -> None:
    with pytest.raises(UsageError, match="LightningPerturb got no rule; expected at least one"):
        Perturb()
    with pytest.raises(UsageError, match="expected a Rule, or a preset"):
        Perturb("sam")
