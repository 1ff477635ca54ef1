"""Presets: published methods, each as a tuple of rules.

Every preset is a function that returns a tuple of rules and can be called without arguments; its
docstring gives the update, the defaults and the source. Notation: w weights, g the gradient of
the batch's mean loss, lr the learning rate, xi unit noise, t the 0-based step.

A new preset is one function here, listed in `PRESETS`, and one entry of
`antifragile.config.perturbation.PERTURBATIONS` with its options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from antifragile.optim.checks import check_number
from antifragile.optim.noise.base import Noise
from antifragile.optim.noise.composed import Filterwise, Preconditioned, Samplewise
from antifragile.optim.noise.directed import Along, Toward
from antifragile.optim.noise.drawn import Gaussian, InitLike, Sphere, Uniform
from antifragile.optim.rules import INTEGERS, Predicate, Rule
from antifragile.optim.scale.norm_controllers import WhenSmallGradient
from antifragile.optim.scale.schedules import Chance, Langevin, On, Power, Scale

_GAUSSIAN = Gaussian()

Params = str | Predicate | None
Inputs = str | Sequence[str] | None


def annealed_gradient_noise(
    eta: float = 0.01,
    gamma: float = 0.55,
    *,
    noise: Noise = _GAUSSIAN,
    params: Params = None,
) -> tuple[Rule, ...]:
    """Annealed gradient noise: ``g <- g + s_t xi``, ``s_t^2 = eta / (1 + t)^gamma``.

    Args:
        eta: Variance at step 0; the paper chooses among 0.01, 0.3 and 1.
        gamma: Exponent with which the variance decays.
        noise: Unit noise, of elements with variance one.
        params: The parameters it acts on, as in `Rule`.

    Source: Neelakantan et al. 2015, arXiv 1511.06807, section 3.
    """
    return (Rule("grad", noise, Power(eta, gamma), params),)


def pgd(
    radius: float = 0.01, threshold: float = 0.01, wait: int = 10, *, params: Params = None
) -> tuple[Rule, ...]:
    """Perturbed gradient descent: ``w <- w + u``, u uniform in a ball, where ``|g|`` is small.

    Added after a step whose gradient norm was at most ``threshold``, if none was added in the
    last ``wait`` steps.

    Args:
        radius: Radius of the ball.
        threshold: Largest gradient norm at which u is added.
        wait: Steps that must pass between two additions.
        params: The parameters it acts on, as in `Rule`.

    Note: The paper also stops when the loss did not fall after an addition; that is left to the
    caller.

    Source: Jin et al. 2017, arXiv 1703.00887, algorithm 2 (constants there depend on unknown
    smoothness; these defaults are ours).
    """
    return (Rule("step", Sphere(inside=True), WhenSmallGradient(radius, threshold, wait), params),)


def sgld(
    temperature: float = 1.0,
    n_samples: int = 1,
    *,
    noise: Noise = _GAUSSIAN,
    params: Params = None,
) -> tuple[Rule, ...]:
    """Stochastic gradient Langevin dynamics: ``w <- w - lr g + sqrt(2 lr T / n) xi`` on plain SGD.

    With the loss the mean over n samples of the negative log posterior this samples the posterior
    at temperature T, up to a bias of the order of the step size ``lr / n``.

    Args:
        temperature: T.
        n_samples: n; 1 where the loss is the negative log posterior itself.
        noise: Unit noise, of elements with variance one.
        params: The parameters it acts on, as in `Rule`.

    Source: Welling & Teh 2011, equation 4.
    """
    return (Rule("step", noise, Langevin(temperature, n_samples), params),)


def psgld(
    temperature: float = 1.0,
    n_samples: int = 1,
    decay: float = 0.99,
    floor: float = 1e-5,
    *,
    noise: Noise = _GAUSSIAN,
    params: Params = None,
) -> tuple[Rule, ...]:
    """Preconditioned SGLD: ``w <- w - lr G g + sqrt(2 lr T G / n) xi``, ``G = 1 / (sqrt(V) + l)``.

    V is the running square of the gradient. RMSprop keeps it (``square_avg``) and makes the
    drift; on plain SGD the rule keeps V itself and multiplies the gradient by G.

    Args:
        temperature: T.
        n_samples: n; 1 where the loss is the negative log posterior itself.
        decay: Decay rate of V where the rule keeps it.
        floor: The constant l that keeps G finite.
        noise: Unit noise, of elements with variance one.
        params: The parameters it acts on, as in `Rule`.

    Note: Without the Gamma term (the derivative of G), as in the paper's experiments; the bias
    is of the order of ``1 - decay``. With Adam, whose momentum is no Langevin drift,
    it adds noise in Adam's metric and does not sample the posterior.

    Source: Li et al. 2016, arXiv 1512.07666, algorithm 1.
    """
    shaped = Preconditioned(noise, decay, floor)
    return (Rule("step", shaped, Langevin(temperature, n_samples), params),)


def random_weight_perturbation(
    gamma: float = 0.01, *, noise: Noise = _GAUSSIAN, params: Params = "matrices"
) -> tuple[Rule, ...]:
    """Random weight perturbation: g taken at ``w + e``, ``e_f = gamma |w_f| xi`` for each filter f.

    Args:
        gamma: Standard deviation of an element in units of its filter's norm.
        noise: Unit noise, of elements with variance one.
        params: The parameters it acts on, as in `Rule`.

    Source: Li et al. 2022, arXiv 2211.11489, section 4.3.
    """
    return (Rule("weight", Filterwise(noise), gamma, params),)


def anti_pgd(
    scale: float | Scale = 0.01,
    until: int | None = None,
    *,
    noise: Noise = _GAUSSIAN,
    params: Params = None,
) -> tuple[Rule, ...]:
    """Anticorrelated noise: ``w <- w - lr g + s (xi_(t+1) - xi_t)``.

    It is built as noise on the weights for one gradient: with the clean weights
    ``z = w - s xi_t`` the same update reads ``z <- z - lr grad L(z + s xi_t)``.
    ``Rule("step", Anti(Gaussian()), s)`` is the form printed in the paper.

    Args:
        scale: s, a number or any scale.
        until: First step without noise, None for never; the paper ends with such a phase.
        noise: Unit noise, of elements with variance one.
        params: The parameters it acts on, as in `Rule`.

    Source: Orvieto et al. 2022, arXiv 2202.02831, equation 3.
    """
    return (Rule("weight", noise, scale if until is None else On(scale, until=until), params),)


def msam(rho: float = 0.3, *, params: Params = None) -> tuple[Rule, ...]:
    """Momentum SAM: g taken at ``w - rho m / |m|``, m the optimizer's momentum.

    One gradient per step, no closure. For an optimizer without momentum m is the last
    gradient.

    Args:
        rho: Length of the perturbation (0.3 in the authors' class, 3 in their recipes).
        params: The parameters it acts on, as in `Rule`.

    Note: The sign is that of the authors: the perturbation goes downhill, against the buffer that
    SGD subtracts.

    Source: Becker et al. 2024, arXiv 2401.12033.
    """
    return (Rule("weight", Along("momentum", downhill=True), rho, params),)


def sam(rho: float = 0.05, *, params: Params = None) -> tuple[Rule, ...]:
    """Sharpness-aware minimisation: g taken at ``w + rho g(w) / |g(w)|``; needs a closure.

    Args:
        rho: Length of the perturbation.
        params: The parameters it acts on, as in `Rule`.

    Source: Foret et al. 2020, arXiv 2010.01412, algorithm 1.
    """
    return (Rule("weight", Along("grad", exact=True), rho, params),)


def asam(rho: float = 0.5, floor: float = 0.01, *, params: Params = None) -> tuple[Rule, ...]:
    """Adaptive SAM: g taken at ``w + rho T^2 g / |T g|``, ``T = |w| + floor``; needs a closure.

    Args:
        rho: Length in units of the weights.
        floor: Number added to ``|w|``.
        params: The parameters it acts on, as in `Rule`.

    Source: Kwon et al. 2021, arXiv 2102.11600, equation 6.
    """
    noise = Along("grad", adaptive=True, exact=True, floor=floor)
    return (Rule("weight", noise, rho, params),)


def sam_lagged(rho: float = 0.05, *, params: Params = None) -> tuple[Rule, ...]:
    """SAM along the last gradient: g taken at ``w + rho g_(t-1) / |g_(t-1)|``; no closure.

    Args:
        rho: Length of the perturbation.
        params: The parameters it acts on, as in `Rule`.

    Source: after Foret et al. 2020, arXiv 2010.01412; the use of the last gradient is ours.
    """
    return (Rule("weight", Along("grad"), rho, params),)


def asam_lagged(
    rho: float = 0.5, floor: float = 0.01, *, params: Params = None
) -> tuple[Rule, ...]:
    """Adaptive SAM along the last gradient, ``w + rho T^2 g_(t-1) / |T g_(t-1)|``; no closure.

    Args:
        rho: Length in units of the weights.
        floor: Number added to ``|w|``.
        params: The parameters it acts on, as in `Rule`.

    Source: after Kwon et al. 2021, arXiv 2102.11600; the use of the last gradient is ours.
    """
    return (Rule("weight", Along("grad", adaptive=True, floor=floor), rho, params),)


def shrink_and_perturb(
    shrink: float = 0.6, sigma: float = 0.01, every: int = 1000, *, params: Params = "matrices"
) -> tuple[Rule, ...]:
    """Shrink and perturb: ``w <- shrink w + sigma w'`` at intervals, w' a fresh initialisation.

    Args:
        shrink: The paper's lambda, in [0, 1].
        sigma: Share of the fresh initialisation.
        every: Number of steps in an interval; the paper acts once per new batch of data.
        params: The parameters it acts on, as in `Rule`.

    Source: Ash & Adams 2020, arXiv 1910.08475, section 4.
    """
    check_number(shrink, "shrink", at_most=1.0)
    shrinking = Rule("step", Toward("zero"), On(1 - shrink, every=every), params)
    return (shrinking, Rule("step", InitLike(), On(sigma, every=every), params))


def stochastic_reset(
    rate: float = 0.001, fraction: float = 0.1, *, fresh: bool = False, params: Params = "matrices"
) -> tuple[Rule, ...]:
    """Stochastic partial resetting: ``w_i <- w_i(0)`` for some i, with probability ``rate`` a step.

    The elements that are reset, chosen anew each time, go back to where they were when the rule
    was attached, and the optimizer's moments of these elements to zero.

    Args:
        rate: Probability per step.
        fraction: Share of the elements.
        fresh: True resets to a new initialisation, and keeps no copy of the first weights.
        params: The parameters it acts on, as in `Rule`.

    Source: Meir et al. 2025, arXiv 2502.04121 (the rates there are fitted; these defaults are
    ours).
    """
    toward = Toward("fresh" if fresh else "start", fraction, resets_moments=True)
    return (Rule("step", toward, Chance(rate), params),)


def input_noise(
    scale: float | Scale = 0.1, *, noise: Noise = _GAUSSIAN, inputs: Inputs = None
) -> tuple[Rule, ...]:
    """Noise on the inputs, ``x <- x + s xi``, in training mode; needs the model.

    For small s it adds ``s^2 / 2`` times the mean squared norm of the model's Jacobian to a
    squared loss.

    Args:
        scale: s, in units of the inputs.
        noise: Unit noise, of elements with variance one.
        inputs: The arguments of the model's forward that it acts on, as in `Rule`.

    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".
    """
    return (Rule("input", noise, scale, inputs=inputs),)


def neftune(alpha: float = 5.0, *, inputs: Inputs = INTEGERS) -> tuple[Rule, ...]:
    """NEFTune, noisy embeddings: ``e <- e + alpha / sqrt(L d) u``, u uniform in [-1, 1].

    e are the embeddings (B, L, d) of a batch's token ids, in training mode; needs the model.

    Args:
        alpha: Magnitude of the noise; the paper takes 5, 10 or 15.
        inputs: The arguments of the model's forward that it acts on, as in `Rule`: token ids get
            the noise where an embedding has read them, embeddings that are handed in directly.

    Note: L is the padded length, as in Hugging Face's Trainer; the paper's code counts the tokens.

    Source: Jain et al. 2023, arXiv 2310.05914, algorithm 1.
    """
    check_number(alpha, "alpha")
    return (Rule("input", Samplewise(Uniform()), alpha / math.sqrt(3), inputs=inputs),)


PRESETS: dict[str, Callable[..., tuple[Rule, ...]]] = {
    preset.__name__: preset
    for preset in (
        annealed_gradient_noise,
        pgd,
        sgld,
        psgld,
        random_weight_perturbation,
        anti_pgd,
        msam,
        sam,
        asam,
        sam_lagged,
        asam_lagged,
        shrink_and_perturb,
        stochastic_reset,
        input_noise,
        neftune,
    )
}
"""Every preset by name."""
