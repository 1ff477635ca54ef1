"""Adding one rule's noise where it belongs: to the gradients, or to the weights.

Everything here runs without gradients.
"""

from __future__ import annotations

from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.attach.clean_weights import TransientWeights
from antifragile.optim.attach.selection import dense_gradients
from antifragile.optim.noise.streams import Stream


def add_to_gradients(attached: AttachedRule, stream: Stream, *, grad_scale: float) -> None:
    """Noise on the gradients there are.

    Args:
        attached: The rule, its sizes set.
        stream: Seeds, step and rule.
        grad_scale: What the gradients are multiplied by.
    """
    gradients = dense_gradients(attached.slots)
    if not gradients:
        return
    if attached.rule.noise.follows == "gradient":
        attached.kept.take_gradients()
    chosen = list(gradients)
    weights = [attached.parameters[i] for i in chosen]
    sizes = [size * grad_scale for size in attached.sizes_at(chosen)]
    site = attached.site(stream, chosen, weights)
    attached.rule.noise.add(site, list(gradients.values()), sizes)


def add_for_good(attached: AttachedRule, stream: Stream) -> None:
    """Noise on the weights that have just moved."""
    parameters = attached.parameters
    chosen = [i for i, p in enumerate(parameters) if p.requires_grad and p.grad is not None]
    if not chosen:
        return
    if attached.rule.noise.follows == "gradient":
        attached.kept.take_gradients()
    weights = [parameters[i] for i in chosen]
    site = attached.site(stream, chosen, weights)
    attached.rule.noise.add(site, weights, attached.sizes_at(chosen))


def store_and_add(weights: TransientWeights, attached: AttachedRule, stream: Stream) -> None:
    """Copy the weights aside and add noise to them: in one pass, where that works."""
    parameters = weights.parameters
    if attached.indices != weights.indices or not all(p.requires_grad for p in parameters):
        weights.store()
        add_to_weights(weights, attached, stream)
        return
    site = attached.site(stream, range(len(parameters)), parameters)
    attached.rule.noise.add(site, parameters, attached.sizes, backups=weights.buffers())
    weights.hold()


def add_to_weights(weights: TransientWeights, attached: AttachedRule, stream: Stream) -> None:
    """Noise on weights that are copied aside already."""
    chosen = [i for i, p in enumerate(attached.parameters) if p.requires_grad]
    targets = [attached.parameters[i] for i in chosen]
    if not targets:
        return
    clean = [weights.clean(attached.indices[i]) for i in chosen]
    site = attached.site(stream, chosen, clean)
    attached.rule.noise.add(site, targets, attached.sizes_at(chosen))
