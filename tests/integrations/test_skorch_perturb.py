"""skorch with the documented callback trains what a hand-written loop trains, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from antifragile.optim import Handle, perturb
from tests.integrations.digits import N_TRAIN, images, seeded_network
from tests.integrations.perturbed import BATCH, MIXED, SEED, PlainLoop, adamw, are_equal
from tests.optim.small_training import NEEDS_CLOSURE, rules_of

pytestmark = pytest.mark.usefixtures("skorch_is_here")


def net(*rules: Any, **options: Any) -> Any:
    """Make a classifier whose callback perturbs its optimizer, as the documentation shows."""
    import skorch

    class Perturb(skorch.callbacks.Callback):
        handle: Handle | None = None

        def on_train_begin(self, net: Any, **data: Any) -> None:
            self.handle = perturb(net.optimizer_, *rules, model=net.module_, seed=SEED)

        def on_train_end(self, net: Any, **data: Any) -> None:
            assert self.handle is not None
            self.handle.remove()

    settings = {
        "optimizer": torch.optim.AdamW,
        "optimizer__lr": 0.01,
        "optimizer__weight_decay": 0.01,
        "batch_size": BATCH,
        "max_epochs": 2,
        "train_split": None,
        "verbose": 0,
        **options,
    }
    return skorch.NeuralNetClassifier(
        seeded_network(), criterion=nn.CrossEntropyLoss, callbacks=[Perturb()], **settings
    )


def fit(*rules: Any, **options: Any) -> Any:
    x, y = images()
    return net(*rules, **options).fit(x[:N_TRAIN], y[:N_TRAIN])


@pytest.mark.parametrize("preset", [None, *NEEDS_CLOSURE])
def test_a_fit_equals_a_loop(preset: str | None) -> None:
    rules = MIXED if preset is None else rules_of(preset)
    fitted = fit(rules)
    expected = PlainLoop(rules, closure=True).train(2).weights()
    assert are_equal(fitted.module_.state_dict(), expected)
    assert not any(part._forward_pre_hooks for part in fitted.module_.modules())


def test_the_validation_of_each_epoch_is_of_clean_weights() -> None:
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    x, y = images()
    held = Dataset(x[N_TRAIN:], y[N_TRAIN:])
    fitted = fit(MIXED, train_split=predefined_split(held))
    for epoch in (1, 2):
        model = PlainLoop(MIXED, closure=True).train(epoch).model.eval()
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(x[N_TRAIN:]), y[N_TRAIN:])
        assert fitted.history[epoch - 1]["valid_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_saved_parameters_are_clean_and_a_new_net_goes_on(tmp_path: Path) -> None:
    import skorch

    class Saving(skorch.callbacks.Callback):
        def on_batch_end(
            self, net: Any, batch: Any = None, training: bool = False, **k: Any
        ) -> None:
            if len(net.history[-1]["batches"]) == 5:
                names = ("f_params", "f_optimizer")
                net.save_params(**{name: tmp_path / name for name in names})

    first = net(MIXED, max_epochs=1)
    first.callbacks.append(("saving", Saving()))
    x, y = images()
    first.fit(x[:N_TRAIN], y[:N_TRAIN])

    again = seeded_network()
    again.load_state_dict(torch.load(tmp_path / "f_params", weights_only=True))
    optimizer = adamw(again.parameters())
    optimizer.load_state_dict(torch.load(tmp_path / "f_optimizer", weights_only=True))
    handle = perturb(optimizer, MIXED, model=again)
    assert handle.step_number == 5
    for start in range(5 * BATCH, N_TRAIN, BATCH):
        rows = slice(start, start + BATCH)
        optimizer.zero_grad()
        nn.functional.cross_entropy(again.train()(x[rows]), y[rows]).backward()
        optimizer.step()
    assert are_equal(again.state_dict(), first.module_.state_dict())


def test_a_search_over_hyperparameters_trains_each_alike() -> None:
    expected = PlainLoop(MIXED, closure=True).train(2).weights()
    ends = [fit(MIXED).module_.state_dict() for _ in range(2)]
    x, y = images()
    repeated = net(MIXED)
    for _ in range(2):  # fit makes module and optimizer anew
        repeated.fit(x[:N_TRAIN], y[:N_TRAIN])
    assert [are_equal(end, expected) for end in ends] == [True] * 2
