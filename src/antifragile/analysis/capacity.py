"""Advice on size from the rate of harm: the cost of an ablation shows the spare size.

The harm of a shape is the mean accuracy of its baseline modes minus that of its ablative modes
(mu_B - mu_A, percentage points). On stable shapes with one hidden layer it falls with size by a
power law, so it can be read backwards:

    log2 P = a + b log2 max(harm, 0.02)       least squares on the 1*W rows, P parameters

and any other stable shape gets an *effective size*: the 1*W network that is harmed as much. The
reference is the size at which harm passes 0.5 points, the paper's tolerance between absorbed and
harmful ablation. Effective size over reference size, with its prediction interval (spread of the
fit and sampling error of the harm), is the advice: over-sized when all of the interval lies above
1, under-sized when all of it lies below. How far effective sizes miss the true ones of deeper
shapes is reported, in doublings.

Source: PSA paper, section III.B and future work ("detecting optimal network configurations using
PSA harm rates"); the paper suggests it and gives no formula.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.stats import t as student

from antifragile.analysis.regimes.complete import classify_complete
from antifragile.analysis.regimes.paper import ABLATIVES, BASELINES
from antifragile.analysis.regimes.words import TOLERANCE, Regime, RegimeVerdict
from antifragile.analysis.source import Source, network_of
from antifragile.analysis.summary import Measure, measured, summarise
from antifragile.config.architecture import MNIST_CLASSES, MNIST_INPUTS, Architecture
from antifragile.config.networks import Network
from antifragile.errors import DataError

LEAST_HARM = 0.02  # percentage points: two of 10,000 samples; less cannot be told from none
_LEAST_ROWS = 4
_STABLE = (Regime.BENEFICIAL, Regime.OPTIMAL)


@dataclass(frozen=True, kw_only=True)
class SizeError:
    """Error of effective sizes against true ones, on the shapes of one depth.

    Args:
        family: ``"2*W"`` and so on.
        shapes: Number of shapes.
        bias_doublings: Mean of log2(effective / true).
        rms_doublings: Root of its mean square.
        coverage: Share of shapes whose interval holds the true size.
    """

    family: str
    shapes: int
    bias_doublings: float
    rms_doublings: float
    coverage: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SizeAdvice:
    """The result of `advise_size`.

    Args:
        table: A row per stable shape: architecture, parameters, harm, harm_se (points),
            effective_parameters, low, high, ratio, ratio_low, ratio_high (effective over
            reference), advice ("over-sized", "about right", "under-sized"), fitted (whether the
            row was used for the fit).
        left_out: Architectures without advice, and why.
        intercept: a.
        slope: b.
        slope_interval: 95 % interval of b.
        r_squared: Share of variance that the fit explains.
        rows: 1*W rows fitted.
        reference_parameters: Size at which harm passes 0.5 points.
        errors: On the rows that were not fitted, by depth.
    """

    table: pd.DataFrame
    left_out: dict[str, str]
    intercept: float
    slope: float
    slope_interval: tuple[float, float]
    r_squared: float
    rows: int
    reference_parameters: float
    errors: tuple[SizeError, ...]


def harm_of_ablation(source: Source, measure: Measure = Measure.PEAK) -> pd.DataFrame:
    """Harm of every architecture that has a baseline and an ablative mode.

    Returns:
        Columns architecture, harm, harm_se (percentage points; standard error over trials, which
        for paired trials is that of the harm per trial; NaN for one trial).
    """
    rows = []
    for name, group in measured(source.trials, measure).groupby("architecture", sort=False):
        wide = group.pivot_table(index="trial", columns="mode", values=measure.column)
        baselines = [mode for mode in BASELINES if mode in wide]
        ablatives = [mode for mode in ABLATIVES if mode in wide]
        if not baselines or not ablatives:
            continue
        harm = wide[baselines].mean().mean() - wide[ablatives].mean().mean()
        if source.paired:
            per_trial = wide[baselines].mean(axis=1) - wide[ablatives].mean(axis=1)
            variance = per_trial.var(ddof=1) / per_trial.count()
        else:
            of_means = wide.var(ddof=1) / wide.count()
            variance = of_means[baselines].sum() / len(baselines) ** 2
            variance += of_means[ablatives].sum() / len(ablatives) ** 2
        rows.append({"architecture": str(name), "harm": harm, "harm_se": np.sqrt(variance)})
    return pd.DataFrame(rows, columns=["architecture", "harm", "harm_se"])


def advise_size(
    source: Source,
    *,
    measure: Measure = Measure.PEAK,
    confidence: float = 0.95,
    n_inputs: int = MNIST_INPUTS,
    n_classes: int = MNIST_CLASSES,
    harm: pd.DataFrame | None = None,
    network: Network | None = None,
) -> SizeAdvice:
    """Fit the harm law on the 1*W rows and read every stable shape's size off it.

    Args:
        source: Trials with baseline and ablative modes.
        measure: The accuracy that is used.
        confidence: Coverage of the intervals.
        n_inputs: Inputs of the data set, for parameter counts.
        n_classes: Its classes, for parameter counts.
        harm: Another harm than that of `harm_of_ablation`, in its columns; the reference is then
            where that one passes 0.5 points.
        network: The kind of network, for parameter counts; by default the source's.

    Raises:
        DataError: Fewer than four stable 1*W rows, or all of one harm.
    """
    harm = harm_of_ablation(source, measure) if harm is None else harm
    verdicts = classify_complete(summarise(source.trials, measure), zero_r=source.zero_r)
    sizes = n_inputs, n_classes, network or network_of(source)
    table, left_out = _stable_rows(harm, verdicts, sizes)
    chosen = table["fitted"].to_numpy()
    x = np.log2(np.maximum(table["harm"].to_numpy(dtype=float), LEAST_HARM))
    _check_rows(chosen, x)
    y = np.log2(table["parameters"].to_numpy(dtype=float))
    fit = sm.OLS(y[chosen], sm.add_constant(x[chosen])).fit()
    centre, reach = _predict(fit, x, table, confidence)
    reference = float(fit.params[0] + fit.params[1] * np.log2(TOLERANCE))
    ends = fit.conf_int(alpha=1 - confidence)[1]
    return SizeAdvice(
        table=_advised(table, centre, reach, reference),
        left_out=left_out,
        intercept=float(fit.params[0]),
        slope=float(fit.params[1]),
        slope_interval=(float(ends[0]), float(ends[1])),
        r_squared=float(fit.rsquared),
        rows=int(chosen.sum()),
        reference_parameters=2.0**reference,
        errors=_errors(_depths(table), centre - y, np.abs(centre - y) <= reach),
    )


def _stable_rows(
    harm: pd.DataFrame, verdicts: Mapping[str, RegimeVerdict], sizes: tuple[int, int, Network]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The judged architectures that are stable, with their size, and why others are left out."""
    harm = harm[harm["architecture"].isin(list(verdicts))]
    stable = harm["architecture"].map(lambda name: verdicts[name].regime in _STABLE).astype(bool)
    left_out = {
        name: f"{verdicts[name].regime.value}: {verdicts[name].reason}"
        for name in harm.loc[~stable, "architecture"]
    }
    table = harm[stable].reset_index(drop=True)
    shapes = [Architecture.parse(name) for name in table["architecture"]]
    table.insert(1, "parameters", [shape.parameter_count(*sizes) for shape in shapes])
    table["fitted"] = _depths(table) == 1
    return table, left_out


def _depths(table: pd.DataFrame) -> np.ndarray:
    return np.array([Architecture.parse(name).depth for name in table["architecture"]], dtype=int)


def _advised(
    table: pd.DataFrame, centre: np.ndarray, reach: np.ndarray, reference: float
) -> pd.DataFrame:
    """Add effective sizes, ratios to the reference and advice; arguments in doublings."""
    low, high = centre - reach, centre + reach
    for column, value in (("effective_parameters", centre), ("low", low), ("high", high)):
        table[column] = 2.0**value
    for column, value in (("ratio", centre), ("ratio_low", low), ("ratio_high", high)):
        table[column] = 2.0 ** (value - reference)
    table["advice"] = np.select(
        [low > reference, high < reference], ["over-sized", "under-sized"], default="about right"
    )
    return table[[column for column in table if column != "fitted"] + ["fitted"]]


def _check_rows(fitted: np.ndarray, x: np.ndarray) -> None:
    if fitted.sum() < _LEAST_ROWS or np.ptp(x[fitted]) == 0:
        raise DataError(
            f"size advice is fitted on stable 1*W networks of several widths; got {fitted.sum()} "
            f"of them, expected at least {_LEAST_ROWS} with different harm: run more of "
            "1*256, 1*64, 1*16, 1*4."
        )


def _predict(
    fit: sm.regression.linear_model.RegressionResultsWrapper,
    x: np.ndarray,
    table: pd.DataFrame,
    confidence: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Log2 effective size and half the width of its interval."""
    predicted = fit.get_prediction(sm.add_constant(x, has_constant="add"))
    harm_se = table["harm_se"].fillna(0).to_numpy(dtype=float)
    harm = np.maximum(table["harm"].to_numpy(dtype=float), LEAST_HARM)
    of_harm = fit.params[1] * harm_se / harm / np.log(2)
    spread = np.sqrt(predicted.se_obs**2 + of_harm**2)
    return predicted.predicted_mean, spread * student.ppf((1 + confidence) / 2, fit.df_resid)


def _errors(depth: np.ndarray, misses: np.ndarray, held: np.ndarray) -> tuple[SizeError, ...]:
    return tuple(
        SizeError(
            family=f"{layers}*W",
            shapes=int((depth == layers).sum()),
            bias_doublings=float(misses[depth == layers].mean()),
            rms_doublings=float(np.sqrt((misses[depth == layers] ** 2).mean())),
            coverage=float(held[depth == layers].mean()),
        )
        for layers in np.unique(depth[depth > 1])
    )
