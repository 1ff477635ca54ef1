"""The verbs of the command line: where each is defined, and its line in the list of verbs.

A test compares the lines with the docstrings of the functions.
"""

from __future__ import annotations

from antifragile.cli.lazy import Verb

VERBS = {
    "landscape": Verb(
        "antifragile.cli.landscape:landscape",
        "List the paper's 98 architectures with their parameters on MNIST.",
    ),
    "train": Verb(
        "antifragile.cli.train:train",
        "Train one network by the meta-loop and keep its last known good state.",
    ),
    "bench": Verb(
        "antifragile.cli.bench:bench",
        "Measure this machine's speed against the rates that `study plan` predicts from.",
    ),
    "classify": Verb(
        "antifragile.cli.results.classify:classify",
        "Say which regime every architecture is in, why, and how sure that is.",
    ),
    "compare-modes": Verb(
        "antifragile.cli.results.compare_modes:compare_modes",
        "Compare every mode with the control: difference, interval, effect size, p values.",
    ),
    "size": Verb(
        "antifragile.cli.results.size:size",
        "Say from the harm of ablation how large each network really is, with an interval.",
    ),
    "table": Verb(
        "antifragile.cli.results.table:table",
        "Print one of the paper's tables, computed from a study or a CSV.",
    ),
    "figure": Verb(
        "antifragile.cli.results.figure:figure",
        "Draw one of the paper's figures, from a study or a CSV, as PNG or SVG.",
    ),
    "report": Verb(
        "antifragile.cli.results.report:report",
        "Write one HTML page that explores a study; it opens offline, and is one file to send on.",
    ),
    "compare": Verb(
        "antifragile.cli.results.report:compare",
        "Write the page of SOURCE with a cell by cell comparison against OTHER.",
    ),
}
DATA_VERBS = {
    "info": Verb(
        "antifragile.cli.data:print_info",
        "Show split sizes, class counts, ZeroR, input size and normalization of a data set.",
    ),
    "list": Verb(
        "antifragile.cli.data:print_list",
        "List the registered data sets and whether their files are here.",
    ),
}
STUDY_VERBS = {
    "run": Verb(
        "antifragile.cli.study.run:run",
        "Run a study, or go on with it; stop it at any moment and run the same command again.",
    ),
    "plan": Verb(
        "antifragile.cli.study.run:plan",
        "Say how a study would run, with predicted time and memory; nothing is run or written.",
    ),
    "extend": Verb(
        "antifragile.cli.study.run:extend",
        "Add trials or meta-loops to a study and run them; nothing finished is run again.",
    ),
    "status": Verb(
        "antifragile.cli.study.status:status",
        "Show every study of a store and how far it is.",
    ),
    "summary": Verb(
        "antifragile.cli.study.status:summary",
        "Show n, mean, sd (population), min and max of every cell, in percent.",
    ),
    "export": Verb(
        "antifragile.cli.study.export:export",
        "Write every stored record (meta_loops) or every finished trial (trials), or all as runs.",
    ),
}
ABLATE_VERBS = {
    "discover": Verb(
        "antifragile.cli.ablate.generate:discover",
        "List the components of a model: where they are, whether they ran, how they can be cut.",
    ),
    "generate": Verb(
        "antifragile.cli.ablate.generate:generate",
        "Write one variant of the source per component and kind, and certify each.",
    ),
    "run": Verb(
        "antifragile.cli.ablate.run:run",
        "Train every certified variant on paired seeds and say what each component was worth.",
    ),
    "report": Verb(
        "antifragile.cli.ablate.report:report",
        "Say what each component was worth: contributions with intervals, placebo first.",
    ),
}
PERTURB_VERBS = {
    "list": Verb("antifragile.cli.perturb:list_presets", "List the presets."),
}
GROUPS = {
    "data": ("The data sets networks are trained on.", DATA_VERBS),
    "study": ("Run, extend, look at and export studies.", STUDY_VERBS),
    "ablate": (
        "Take components out of a model, one at a time, and see what each was worth.",
        ABLATE_VERBS,
    ),
    "perturb": ("Perturbed equations: the presets by name.", PERTURB_VERBS),
}
"""Groups of verbs by name: each with its line of help."""
