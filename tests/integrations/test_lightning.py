"""LightningFrustration in a real Trainer: modes, optimizer, final model, wrong use."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from antifragile.config.modes import PAPER_MODES
from antifragile.errors import UsageError
from antifragile.integrations.lightning import LightningFrustration
from tests.integrations.digits import N_TRAIN, accuracy, images, plain_records
from tests.integrations.needed import LIGHTNING_WARNINGS

if TYPE_CHECKING:
    import tests.integrations.lightning_runs as lightning_runs

pytestmark = [pytest.mark.filterwarnings(line) for line in LIGHTNING_WARNINGS]


@pytest.fixture(scope="module")
def runs(lightning_is_here: None) -> lightning_runs:
    """Import what needs Lightning."""
    import tests.integrations.lightning_runs as lightning_runs

    return lightning_runs


@pytest.mark.parametrize("mode", PAPER_MODES)
def test_each_mode_runs_and_leaves_the_bounty_s_holder(runs: Any, mode: str) -> None:
    frustration = LightningFrustration("val_acc", mode=mode)
    trainer = runs.fit(frustration)
    records = frustration.records
    assert [record.meta_loop for record in records] == [1, 2, 3]
    ablates = mode in ("full", "hidden", "output")
    assert [len(record.ablated) for record in records] == [0, ablates, ablates]
    x, y = images()
    held = accuracy(trainer.lightning_module.net, x[N_TRAIN:], y[N_TRAIN:])
    assert held == pytest.approx(max(record.score for record in records))


def test_decay_and_dropout_act_and_are_taken_off_again(runs: Any) -> None:
    plain, decayed, dropped = (
        runs.weights(runs.fit(LightningFrustration("val_acc", mode=mode, keep="last"), epochs=1))
        for mode in ("none", "decay", "dropout")
    )
    assert not torch.equal(plain["net.3.weight"], decayed["net.3.weight"])
    assert not torch.equal(plain["net.3.weight"], dropped["net.3.weight"])
    module = runs.Digits()
    runs.fit(LightningFrustration("val_acc", mode="dropout"), epochs=2, module=module)
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_the_last_candidate_stays_if_asked_for(runs: Any) -> None:
    best, last = (
        runs.fit(LightningFrustration("val_loss", keep=keep), epochs=2) for keep in ("best", "last")
    )
    # more is better, and the loss falls: the bounty's holder is the first candidate
    assert not torch.equal(*(runs.weights(trainer)["net.3.weight"] for trainer in (best, last)))


def test_reset_clears_moments_and_persistent_does_not_while_the_schedule_runs_on(runs: Any) -> None:
    reset, persistent = runs.Digits(), runs.Digits()
    runs.fit(LightningFrustration("val_acc"), module=reset)
    runs.fit(LightningFrustration("val_acc", mode="hidden+persistent"), module=persistent)
    assert reset.moments == [0, 0, 0]
    assert persistent.moments == [0, 6, 6]
    assert reset.rates == persistent.rates == pytest.approx([0.01, 0.009, 0.0081])


@pytest.mark.parametrize("mode", ["none", "hidden", "output", "hidden+patience=1"])
def test_scores_are_those_of_the_engine_around_a_plain_loop(runs: Any, mode: str) -> None:
    frustration = LightningFrustration("val_acc", mode=mode, seed=5)
    runs.fit(frustration, epochs=4, shuffle=False)

    torch.manual_seed(1)
    model = runs.Digits().net
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    x, y = images()

    def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model.train()
        for start in range(0, N_TRAIN, 32):
            batch = slice(start, start + 32)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()

    expected = plain_records(model, train_epoch, mode, optimizer)
    assert [r.score for r in frustration.records] == [r.score for r in expected]
    assert [r.promoted for r in frustration.records] == [r.promoted for r in expected]
    assert [r.ablated for r in frustration.records] == [r.ablated for r in expected]


def test_gradient_accumulation_and_restarts(runs: Any) -> None:
    frustration = LightningFrustration("val_acc", mode="none+restart=2", fresh=runs.fresh_digits)
    module = runs.Digits()
    runs.fit(frustration, epochs=4, module=module, accumulate_grad_batches=3)
    assert [record.promoted for record in frustration.records][::2] == [True, True]
    assert module.moments == [0, 0, 0, 0]


def test_early_stopping_stops_and_the_bounty_s_holder_is_loaded(runs: Any) -> None:
    from lightning.pytorch.callbacks import EarlyStopping

    stopping = EarlyStopping("val_acc", mode="max", patience=1, min_delta=2.0)  # never better
    frustration = LightningFrustration("val_acc")
    trainer = runs.fit(frustration, epochs=6, callbacks=(stopping,))
    assert len(frustration.records) == 2
    x, y = images()
    held = accuracy(trainer.lightning_module.net, x[N_TRAIN:], y[N_TRAIN:])
    assert held == pytest.approx(frustration.records[-1].bounty)


def test_the_bounty_can_be_monitored(runs: Any) -> None:
    frustration = LightningFrustration("val_acc")
    trainer = runs.fit(frustration)
    last = frustration.records[-1]
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["frustration/bounty"] == pytest.approx(last.bounty)
    assert logged["frustration/promoted"] == last.promoted
    assert logged["frustration/ablated"] == 1


def test_bfloat16_and_several_optimizers(runs: Any) -> None:
    class Two(runs.Digits):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: list[Tensor], number: int) -> None:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.moments.append(sum(len(item.optimizer.state) for item in self.optimizers()))
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()

        def configure_optimizers(self) -> Any:
            first, last = self.net[0].parameters(), self.net[3:].parameters()
            return torch.optim.Adagrad(first, 0.01), torch.optim.Adam(last, 0.01)

    module = Two()
    frustration = LightningFrustration("val_acc")
    runs.fit(frustration, module=module, precision="bf16-mixed")
    assert module.moments[:9:8] == [2, 2]  # Adagrad's alone, from before its first step
    assert len(frustration.records) == 3


def test_a_compiled_model_gives_the_same_scores(runs: Any) -> None:
    plain, compiled = LightningFrustration("val_acc"), LightningFrustration("val_acc")
    module = runs.Digits()
    before = copy.deepcopy(module)
    module.net = torch.compile(module.net, backend="eager")
    runs.fit(plain, module=before)
    runs.fit(compiled, module=module)
    assert [r.score for r in compiled.records] == [r.score for r in plain.records]
    with pytest.raises(UsageError, match=r"adds hooks, which torch\.compile does not see"):
        runs.fit(LightningFrustration("val_acc", mode="dropout"), module=module)


def test_a_wrong_metric_is_named_with_those_there_are(runs: Any) -> None:
    with pytest.raises(UsageError, match=r"no metric 'accuracy' was logged .*: val_acc, val_loss"):
        runs.fit(LightningFrustration("accuracy"), epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit_val_batches": 0}, "validates nothing"),
        ({"check_val_every_n_epoch": 2}, "check_val_every_n_epoch=2"),
    ],
)
def test_no_validation_per_epoch_is_refused(runs: Any, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        runs.fit(LightningFrustration("val_acc"), **options)


def test_an_epoch_whose_last_batch_is_not_validated_is_refused(runs: Any) -> None:
    with pytest.raises(UsageError, match="ended without a validation after its last batch"):
        runs.fit(LightningFrustration("val_acc"), val_check_interval=5)


def test_what_decides_the_final_weights_too_is_refused(runs: Any) -> None:
    from lightning.pytorch.callbacks import StochasticWeightAveraging

    averaging = StochasticWeightAveraging(0.01)
    with pytest.raises(UsageError, match="StochasticWeightAveraging and LightningFrustration both"):
        runs.fit(LightningFrustration("val_acc"), callbacks=(averaging,))


def test_parts_that_are_called_one_by_one_need_a_name(runs: Any) -> None:
    class Apart(runs.Digits):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = self.net[:3], self.net[3:]
            del self.net

        def training_step(self, batch: list[Tensor], number: int) -> Tensor:
            return nn.functional.cross_entropy(self.head(self.body(batch[0])), batch[1])

        def validation_step(self, batch: list[Tensor], number: int) -> None:
            scores = self.head(self.body(batch[0]))
            self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    with pytest.raises(UsageError, match="calls 'body' and 'head' of the model"):
        runs.fit(LightningFrustration("val_acc"), module=Apart())
    frustration = LightningFrustration("val_acc", network="head")
    runs.fit(frustration, module=Apart())
    assert frustration.records[-1].ablated[0].startswith("3[")


def test_wrong_options_are_refused_at_once(runs: Any) -> None:
    with pytest.raises(UsageError, match="keep is 'first', expected 'best' or 'last'"):
        LightningFrustration("val_acc", keep="first")
    with pytest.raises(UsageError, match="needs fresh networks; give fresh="):
        runs.fit(LightningFrustration("val_acc", mode="none+restart=2"))
