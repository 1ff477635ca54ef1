"""A user's model with all that trains it: functions, optimizers, and what modes may ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from antifragile.config.modes import Mode
from antifragile.config.modifiers.records import DamageKind, OptimizerMemory, PromotionRule
from antifragile.engine.frustration.functions import Evaluate, TrainEpoch
from antifragile.engine.frustration.hits import check_choice_of
from antifragile.errors import UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class ModelTraining:
    """A user's model with what trains and measures it.

    Args:
        model: The model, as it is called.
        train_epoch: Trains it for one epoch; None where a trainer does.
        evaluate: Measures it; None where a trainer does.
        optimizers: The optimizers that live on: what ``train_epoch`` is handed, or a trainer's.
        fresh: Builds a new model, for modes that restart or draw anew; None for none.
        minimize: Whether less is better.
        weight_decay: Decoupled weight decay in mode ``decay``.
        dropout: Drop probability in mode ``dropout``.
        layers: Names of the layers whose hidden units may be hit; None for all.
        inputs: Arguments of a call of the model; None to take those of its first call.
        loss: Returns the loss of a few training samples, for modes that rank by gradient.
    """

    model: nn.Module
    train_epoch: TrainEpoch | None = None
    evaluate: Evaluate | None = None
    optimizers: tuple[torch.optim.Optimizer, ...] = ()
    fresh: Callable[[], nn.Module] | None = None
    minimize: bool = False
    weight_decay: float = 0.01
    dropout: float = 0.1
    layers: Sequence[str] | None = None
    inputs: object = None
    loss: Callable[[nn.Module], Tensor] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.layers, str):
            raise UsageError(f"layers is {self.layers!r}, expected a list of names.")
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(self.layers))
            _check_layers(self.layers, self.model)
        for name, most in (("weight_decay", 1e6), ("dropout", 1 - 1e-6)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= most:
                raise UsageError(f"{name} is {value!r:.60}, expected a number from 0 to {most:g}.")
        for optimizer in self.optimizers:
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise UsageError(
                    f"optimizer is a {type(optimizer).__name__}, expected a torch.optim.Optimizer."
                )
            _check_trains(optimizer, self.model)

    def clear_memory(self) -> None:
        """Put the optimizers' memory back to where it is before the first step."""
        for optimizer in self.optimizers:
            optimizer.state.clear()
            if isinstance(optimizer, torch.optim.Adagrad):  # the one that fills it beforehand
                for group in optimizer.param_groups:
                    new = torch.optim.Adagrad(
                        group["params"],
                        initial_accumulator_value=group["initial_accumulator_value"],
                    )
                    optimizer.state.update(new.state)

    def forget(self, entries: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        """Zero the optimizers' memory of some entries.

        Args:
            entries: Boolean masks of them, by parameter.
            parameters: The parameters by the same names.
        """
        for optimizer in self.optimizers:
            for name, mask in entries.items():
                for value in optimizer.state.get(parameters[name], {}).values():
                    if isinstance(value, Tensor) and value.shape == mask.shape:
                        value[mask] = 0

    def user_score(self, score: float) -> float:
        """Return a score of the engine, where more is better, as the user measures it."""
        return -score if self.minimize else score


def _check_layers(layers: Sequence[str], model: nn.Module) -> None:
    """Refuse names that neither the model nor a part of it has."""
    named = [*dict(model.named_modules()), *dict(model.named_parameters(remove_duplicate=False))]
    for layer in layers:
        if not any(f".{name}".endswith(f".{layer}") for name in named):
            raise UsageError(
                f"layers names {layer!r}, which the model does not have; {nearest(layer, named)}"
            )


def _check_trains(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Refuse an optimizer that holds nothing of the model."""
    own = {id(parameter) for parameter in model.parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if own and not any(id(parameter) in own for parameter in held):
        raise UsageError(
            "optimizer= trains no parameter of the model; make it from model.parameters()."
        )


def check_given(mode: Mode, training: ModelTraining) -> None:
    """Refuse a mode that asks for what was not given.

    Raises:
        UsageError: It does.
    """
    variation = mode.variation
    if mode.perturbation is not None:
        raise UsageError(
            f"mode {mode.name!r} perturbs the update equation; use mode 'none', and "
            "antifragile.perturb on the optimizer in your training."
        )
    if mode.recycling is not None:
        raise UsageError(
            f"mode {mode.name!r} draws neurons anew between the updates of an epoch, which is done "
            "for the paper's networks only; for a model of your own use hidden+reinit."
        )
    if variation.learning_rate is not None or variation.initialisation is not None:
        raise UsageError(
            f"mode {mode.name!r} decides a learning rate or an initialisation, which are your "
            "training's and your model's; set them there, and leave the modifier out."
        )
    if variation.optimizer is not OptimizerMemory.RESET and not training.optimizers:
        raise UsageError(
            f"mode {mode.name!r} keeps the optimizer's memory; give optimizer=..., and take it as "
            "the second argument of train_epoch."
        )
    needs_fresh = variation.promotion.rule is PromotionRule.RESTART
    if (needs_fresh or variation.damage is DamageKind.REINIT) and training.fresh is None:
        raise UsageError(
            f"mode {mode.name!r} needs fresh networks; give fresh=, a function that returns a new "
            "model of the same kind."
        )
    rank = variation.targets.rank
    if rank is not None and rank.endswith("gradient") and training.loss is None:
        raise UsageError(
            f"mode {mode.name!r} ranks units by their gradients; give loss=, a function of the "
            "model that returns the loss of a few training samples."
        )
    check_choice_of(mode)
