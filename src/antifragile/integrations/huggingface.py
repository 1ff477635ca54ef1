"""Callbacks of Hugging Face's Trainer: the meta-loop, and perturbed update equations.

One epoch is one meta-loop:

    from antifragile.integrations.huggingface import HuggingFaceFrustration
    frustration = HuggingFaceFrustration(monitor="eval_loss", minimize=True, mode="hidden", seed=0)
    trainer = Trainer(..., callbacks=[frustration])

Noise in the trainer's optimizer:

    from antifragile.integrations.huggingface import Perturb
    trainer = Trainer(..., callbacks=[Perturb(presets.msam(), seed=0)])

Source: PSA paper, section II.D.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from antifragile.engine.frustration.regularisers import COMPILED
from antifragile.engine.frustration.saving import SavedEngine, read_engine, write_engine
from antifragile.errors import CheckpointError, UsageError
from antifragile.integrations.callback import FrustrationCallback
from antifragile.integrations.first_call import part_named
from antifragile.integrations.perturbation import SHARDED, PerturbCallback
from antifragile.optim.rules import Rule

FILE = "antifragile.safetensors"


class HuggingFaceFrustration(FrustrationCallback):
    """Callback of Hugging Face's Trainer that runs Persistent Stochastic Ablation.

    From the second epoch on, each begins with the last known good state (LKG), in which a unit is
    zeroed where the mode says so; at the evaluation after the epoch the candidate is judged by
    ``monitor``; after the last one the bounty's holder is loaded into the model. Learning-rate
    schedules, step counts and logs go on. Everything that the next epochs depend on is in the file
    ``antifragile.safetensors`` of each of the trainer's checkpoints, so that
    ``train(resume_from_checkpoint=...)`` goes on exactly.

    The bounty, and whether the candidate was promoted and how many units were hit, are added to
    the metrics of the evaluation and to the trainer's log history as ``eval_frustration_bounty``,
    ``eval_frustration_promoted`` and ``eval_frustration_ablated``.

    Args are those of `FrustrationCallback`.

    Source: PSA paper, section II.D.
    """

    _package, _base, _extra, _parts = "transformers", "TrainerCallback", "huggingface", False
    _reported: tuple[str, ...] = ()
    _saves_later: bool = False

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse, before anything is trained, what cannot work."""
        _check_arguments(args)

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: nn.Module, optimizer: Any, **kwargs: Any
    ) -> None:
        """Make the loop around the model, new or as it was in the trainer's checkpoint."""
        _check_arguments(args)
        if args.torch_compile and any(part.uses_dropout for part in self.mode.parts):
            raise UsageError(COMPILED)
        saved = _read(args, state) if state.global_step > 0 else None
        self._start(model, [_inner(optimizer)], saved)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin a meta-loop, if it has not begun before a checkpoint in the middle of the epoch."""
        loop = self._running()
        if loop.is_open and not _is_between_epochs(state):
            return
        if loop.is_open:
            self._refuse_unjudged()
        loop.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put a checkpoint after an epoch's last step off until the candidate is judged."""
        self._saves_later = bool(control.should_save) and _is_between_epochs(state)
        if self._saves_later:
            control.should_save = False

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any
    ) -> None:
        """Judge the candidate, if this evaluation is that after its epoch."""
        loop = self._loop
        if loop is None or not loop.is_open or not self._ends_epoch(state, control):
            return
        self._reported = (*self._reported, *metrics)
        names = [name for name in (self.monitor, f"eval_{self.monitor}") if name in metrics]
        if not names:
            return  # another evaluation set's may have it
        record = loop.judge(metrics[names[0]], names[0])
        added = {
            "eval_frustration_bounty": record.bounty,
            "eval_frustration_promoted": float(record.promoted),
            "eval_frustration_ablated": float(len(record.ablated)),
        }
        metrics.update(added)
        state.log_history.append({**added, "epoch": state.epoch, "step": state.global_step})
        if self._saves_later:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add our file to the trainer's checkpoint."""
        if not args.should_save:
            return
        folder = _checkpoint(args, state)
        if not folder.is_dir():
            raise UsageError(
                f"the trainer did not save to {folder}, as in a hyperparameter search; set "
                "save_strategy='no' there."
            )
        write_engine(folder / FILE, self._running().pack())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Load the bounty's holder."""
        loop = self._running()
        if loop.is_open and not loop.has_best:
            self._refuse_unjudged()
        self._finish()

    def _ends_epoch(self, state: Any, control: Any) -> bool:
        return _is_between_epochs(state) or control.should_training_stop

    def _refuse_unjudged(self) -> None:
        reported = ", ".join(sorted(set(self._reported))) or "none"
        raise UsageError(
            f"the epoch ended without a metric {self.monitor!r} in its evaluation; reported were: "
            f"{reported}. Name one of them, or let compute_metrics return it."
        )


class HuggingFacePerturb(PerturbCallback):
    """Callback of Hugging Face's Trainer that perturbs the update equation.

    It perturbs the optimizer inside the trainer's wrapper from the start of ``train`` to its end.
    Evaluations, checkpoints and the best model that is loaded have clean weights. The
    perturbation is in the optimizer's part of each checkpoint, so that
    ``train(resume_from_checkpoint=...)`` goes on exactly.

    The trainer tells a callback nothing of an exception. The weights are clean then as soon as the
    model is evaluated, saved or trained again; ``with Perturb(...) as perturb:`` around the
    training cleans them at once.

    Args:
        *rules: Rules, tuples of them, or presets, as `antifragile.perturb` takes them.
        seed: Seed of the noise; None derives it from `torch.initial_seed`.
        per_rank: Whether every process draws its own noise.
        network: Name of the part whose inputs are perturbed, as in ``"model.layers.0"`` where the
            model's own are whole numbers; for rules on inputs alone.

    Raises:
        MissingExtraError: transformers is not installed.
        UsageError: Something is no rule, or a rule does not go together with the trainer.
    """

    _package, _base, _extra = "transformers", "TrainerCallback", "huggingface"

    def __init__(
        self,
        *rules: Rule | Sequence[Rule],
        seed: int | None = None,
        per_rank: bool = False,
        network: str | None = None,
    ) -> None:
        super().__init__(*rules, seed=seed, per_rank=per_rank, network=network)
        if self._takes_second_gradients:
            raise UsageError(
                "Hugging Face's Trainer calls optimizer.step() without a closure, and the exact "
                "presets sam and asam take their second gradient in one; use sam_lagged, "
                "asam_lagged or msam, which need none."
            )
        if network is not None and self._perturbs_weights:
            raise UsageError(
                f"network={network!r} names where noise enters the inputs, and a rule on 'weight' "
                "acts on the whole model from its first layer on; give either, not both."
            )

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse, before anything is trained, what cannot work."""
        _check_is_whole(args)

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: nn.Module, optimizer: Any, **kwargs: Any
    ) -> None:
        """Perturb the optimizer, which has loaded its part of a checkpoint by now."""
        _check_is_whole(args)
        called = () if self._network is None else (part_named(model, self._network),)
        self._attach(_inner(optimizer), model, called)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave clean weights."""
        self.remove()


Perturb = HuggingFacePerturb


def _check_is_whole(args: Any) -> None:
    """Refuse training arguments by which no process holds a parameter whole."""
    for name in ("deepspeed", "fsdp"):
        if getattr(args, name, None):
            raise UsageError(SHARDED.format(f"{name}="))
    if args.n_gpu > 1:
        raise UsageError(
            f"the trainer would copy the model to {args.n_gpu} GPUs by nn.DataParallel before its "
            "forward perturbs the weights; start one process per GPU, as with torchrun."
        )


def _check_arguments(args: Any) -> None:
    """Refuse training arguments that do not go together with the meta-loop."""
    if str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "epoch":
        raise UsageError(
            f"the trainer has eval_strategy={str(args.eval_strategy.value)!r}, and every epoch's "
            "candidate is to be judged; use eval_strategy='epoch'."
        )
    if args.load_best_model_at_end:
        raise UsageError(
            "load_best_model_at_end=True and HuggingFaceFrustration both decide the final model; "
            "set it to False: the bounty's holder is loaded at the end."
        )
    for name in ("deepspeed", "fsdp"):
        if getattr(args, name, None):
            raise UsageError(
                f"{name}= shards the model over processes, where no process holds a unit whole; "
                "use DistributedDataParallel, or a single process."
            )


def _is_between_epochs(state: Any) -> bool:
    return float(state.epoch or 0.0).is_integer()


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _read(args: Any, state: Any) -> SavedEngine:
    """Read our file of the checkpoint that the trainer resumed from."""
    named = args.resume_from_checkpoint
    folders = [Path(named)] if isinstance(named, str) and Path(named).is_dir() else []
    folder = [*folders, _checkpoint(args, state)][0]
    if not (folder / FILE).is_file():
        raise CheckpointError(
            f"{folder} has no {FILE}: it was made without HuggingFaceFrustration, or was cut while "
            "it was saved, or the trainer resumed another folder; resume an earlier one, and name "
            "a folder outside output_dir as TrainingArguments(resume_from_checkpoint=...), too."
        )
    return read_engine(folder / FILE)


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """Return the optimizer inside accelerate's wrapper."""
    while not isinstance(optimizer, torch.optim.Optimizer) or hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer
