"""The public function `perturb`, which attaches rules to a `torch.optim` optimizer."""

from __future__ import annotations

import gc
import hashlib
import logging
import weakref
from collections.abc import Callable, Sequence

import torch
from torch import distributed as dist
from torch import nn

from antifragile.errors import CheckpointError, UsageError
from antifragile.optim.attach.handle import HANDLE, Handle
from antifragile.optim.attach.hooks.others import check_is_free
from antifragile.optim.attach.optimizers import check_optimizer, strays_from_langevin
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer
from antifragile.optim.attach.saving import load_waiting
from antifragile.optim.checks import check_whole_number
from antifragile.optim.rules import Place, Rule

logger = logging.getLogger(__name__)

_DERIVED: weakref.WeakSet[PerturbedOptimizer] = weakref.WeakSet()
_MOST_REPLICAS, _MOST_STEPS = 2**20, 2**53


def perturb(
    optimizer: torch.optim.Optimizer,
    *rules: Rule | Sequence[Rule],
    seed: int | Sequence[int] | None = None,
    model: nn.Module | None = None,
    called: Sequence[nn.Module] = (),
    per_rank: bool = False,
    replicas: int | None = None,
    first_step: int = 0,
) -> Handle:
    """Perturb the update equation of an optimizer from here on.

    The optimizer stays the same object; schedulers, gradient scalers and training loops see no
    difference. Its ``state_dict()`` contains the state of the perturbation, so that a run that is
    saved and loaded continues bit for bit.

    Args:
        optimizer: Any `torch.optim` optimizer that takes one gradient per step.
        *rules: Rules, or tuples of them as the presets return; all act together, in this order.
        seed: At least 0 and below 2**64. With replicas a sequence of R seeds, or a first seed
            from which they count upward. None derives it from `torch.initial_seed` and the number
            of handles that did so and are in use, without drawing from torch's generator; the
            ranks of a process group take that of the first.
        model: The module that is called. With it, forwards in eval mode and ``state_dict()`` see
            clean weights by themselves, and input rules work.
        called: Parts of the model that are called in its place, one after the other, as in
            ``(model.encoder, model.decoder)``; noise on inputs goes to the one called first.
        per_rank: True lets every rank of the process group draw its own noise; False lets all
            draw the same, except for inputs, which differ by rank.
        replicas: R, where every parameter has a leading dimension of R independent runs: norms
            and controllers are then per replica, and replica r draws the noise of a single run
            with its seed.
        first_step: Step number at which schedules and noise begin, for training that makes a
            fresh optimizer now and then and continues the same noise.

    Returns:
        The handle: clean weights, metrics, state, removal.

    Raises:
        UsageError: A rule, a seed or a parameter does not fit.
        CheckpointError: The optimizer has loaded the state of other rules from a checkpoint.

    Example:
        >>> import torch
        >>> from antifragile.optim import perturb, presets
        >>> model = torch.nn.Linear(3, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> handle = perturb(optimizer, presets.random_weight_perturbation(), model=model)
    """
    flat = flatten_rules(rules)
    _check(optimizer, flat, model, per_rank)
    _check_called(called, model)
    if replicas is not None:
        check_whole_number(replicas, "replicas", at_least=1, at_most=_MOST_REPLICAS)
    is_derived = seed is None
    seeds = _seeds(_derived_seed(replicas or 1) if seed is None else seed, replicas)
    check_whole_number(first_step, "first_step", at_least=0, at_most=_MOST_STEPS)
    core = PerturbedOptimizer(
        optimizer,
        flat,
        seeds=seeds,
        model=model,
        per_rank=per_rank,
        replicas=replicas,
        first_step=first_step,
    )
    handle = Handle(core, tuple(called))
    if is_derived:
        _DERIVED.add(core)
    if core.blurs_statistics:
        logger.warning(
            "the model has batch norms, whose running statistics will be of perturbed weights; "
            "call handle.update_bn(loader) before the model is evaluated."
        )
    if any(strays_from_langevin(optimizer, rule) for rule in flat):
        logger.warning(
            "Langevin noise beside %s samples another distribution than beside plain SGD: momentum "
            "and preconditioning change it; psgld knows the latter.",
            type(optimizer).__name__,
        )
    try:
        load_waiting(core)
    except CheckpointError:
        handle.remove()
        raise
    return handle


def flatten_rules(rules: Sequence[object]) -> list[Rule]:
    """List rules that were given as rules, tuples of them, or presets to be called.

    Raises:
        UsageError: Something else is among them.
    """
    flat: list[Rule] = []
    for rule in rules:
        if isinstance(rule, Rule):
            flat.append(rule)
        elif callable(rule):
            flat += flatten_rules([_called(rule)])
        elif isinstance(rule, Sequence) and not isinstance(rule, str):
            flat += flatten_rules(rule)
        else:
            raise UsageError(
                f"perturb got {rule!r}; expected a Rule, or a preset such as "
                "presets.annealed_gradient_noise()."
            )
    return flat


def _called(preset: Callable[[], object]) -> object:
    try:
        return preset()
    except TypeError as error:
        raise UsageError(
            f"perturb got {preset!r}, which cannot be called without arguments; call it yourself, "
            "and pass what it returns."
        ) from error


def _check(optimizer: object, rules: list[Rule], model: nn.Module | None, per_rank: bool) -> None:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(
            f"perturb got {type(optimizer).__name__}; expected a torch.optim.Optimizer."
        )
    if model is not None and not isinstance(model, nn.Module):
        raise UsageError(f"model is {model!r:.200}; expected the torch.nn.Module that is called.")
    if not rules:
        raise UsageError("perturb got no rule; expected at least one.")
    if getattr(optimizer, HANDLE, None) is not None:
        raise UsageError(
            "the optimizer is perturbed already; pass all rules in one call, or remove() the "
            "first handle."
        )
    check_optimizer(optimizer, rules)
    check_is_free(optimizer)
    if model is None and any(rule.where is Place.INPUT for rule in rules):
        raise UsageError("a rule on 'input' needs the model; pass model= to perturb().")
    drifting = [rule for rule in rules if rule.where in (Place.GRAD, Place.STEP)]
    in_group = dist.is_available() and dist.is_initialized()
    if per_rank and drifting and in_group:
        raise UsageError(
            f"per_rank=True with a rule on {str(drifting[0].where)!r} would let the ranks' weights "
            "drift apart; use it with 'weight' or 'input' rules alone."
        )


def _check_called(called: Sequence[nn.Module], model: nn.Module | None) -> None:
    modules = () if model is None else tuple(model.modules())
    for part in called:
        if not any(part is module for module in modules):
            raise UsageError(
                f"called= has a {type(part).__name__} that is no part of model=; give modules of "
                "the model."
            )


def _derived_seed(replicas: int) -> int:
    """Derive a seed from torch's, other than those of the handles that are in use."""
    if len(_DERIVED):
        gc.collect()  # handles that nobody holds
    words = f"{torch.initial_seed()} {sum(not core.is_removed for core in _DERIVED)}"
    seed = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little")
    found = [min(seed, 2**64 - replicas)]
    if dist.is_available() and dist.is_initialized():
        dist.broadcast_object_list(found, src=0)
    return found[0]


def _seeds(seed: int | Sequence[int], replicas: int | None) -> tuple[int, ...]:
    if isinstance(seed, int) and not isinstance(seed, bool):
        seeds = tuple(seed + r for r in range(replicas or 1))
    elif replicas is not None and isinstance(seed, Sequence) and len(seed) == replicas:
        seeds = tuple(seed)
    else:
        raise UsageError(
            f"seed is {seed!r:.200}; expected a whole number, or with replicas={replicas} that "
            "many."
        )
    if not all(type(s) is int and 0 <= s < 2**64 for s in seeds):
        raise UsageError(f"seed is {seed!r:.200}; expected at least 0 and below 2**64.")
    return seeds
