"""The verbs of the command line, each with the function behind it.

The line of a verb in the list of verbs is the first paragraph of the function's docstring.
"""

from __future__ import annotations

VERBS = {
    "landscape": "antifragile.cli.landscape:landscape",
    "train": "antifragile.cli.train:train",
    "units": "antifragile.cli.ablate.units:units",
    "bench": "antifragile.cli.bench:bench",
    "classify": "antifragile.cli.results.classify:classify",
    "compare-modes": "antifragile.cli.results.compare_modes:compare_modes",
    "size": "antifragile.cli.results.size:size",
    "table": "antifragile.cli.results.table:table",
    "figure": "antifragile.cli.results.figure:figure",
    "report": "antifragile.cli.results.report:report",
    "compare": "antifragile.cli.results.report:compare",
    "info": "antifragile.cli.machine.info:info",
}
DATA_VERBS = {
    "info": "antifragile.cli.data:print_info",
    "list": "antifragile.cli.data:print_list",
}
STUDY_VERBS = {
    "run": "antifragile.cli.study.run:run",
    "plan": "antifragile.cli.study.run:plan",
    "extend": "antifragile.cli.study.run:extend",
    "status": "antifragile.cli.study.status:status",
    "summary": "antifragile.cli.study.status:summary",
    "export": "antifragile.cli.study.export:export",
    "check": "antifragile.cli.study.check:check",
}
ABLATE_VERBS = {
    "discover": "antifragile.cli.ablate.generate:discover",
    "generate": "antifragile.cli.ablate.generate:generate",
    "run": "antifragile.cli.ablate.run:run",
    "report": "antifragile.cli.ablate.report:report",
}
PERTURB_VERBS = {"list": "antifragile.cli.perturb:list_presets"}
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
