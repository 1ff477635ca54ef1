"""Each variant has a folder of its own, whatever the names, on every file system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from antifragile.ablate.generation.generate import generate
from antifragile.ablate.generation.names import VariantKey, folder_names, slug
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    Component,
    ComponentKind,
    ComponentPlan,
    Edit,
    Planned,
    Refused,
    Span,
)
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import part_of, traced, written_project

RESERVED = {
    *("con", "prn", "aux", "nul", "baseline", "combinations", "ablations.json", "ablation.db"),
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)),
}
COLLIDING = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(8, 16)
        self.act_1 = nn.ReLU()
        self.act = nn.ModuleList([nn.Tanh(), nn.Sigmoid()])
        self.Act_1 = nn.Tanh()
        self.act__1 = nn.GELU()
        self.α = nn.Linear(16, 16)
        self.ß = nn.Linear(16, 16)
        self.層 = nn.Linear(16, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        x = self.act_1(self.inp(x))
        x = self.act[1](self.act[0](x))
        return self.out(self.層(self.ß(self.α(self.act__1(self.Act_1(x))))))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8),)
"""


def key(
    component: str, kind: AblationKind = AblationKind.IDENTITY, *edits: Edit, **options: str
) -> VariantKey:
    return VariantKey.of(component, kind, Planned(edits=edits, options=options))


def names_of(*components: str) -> list[str]:
    names = folder_names(map(key, components))
    return [names[key(component)] for component in components]


def test_a_name_that_nothing_else_has_stays_readable() -> None:
    assert names_of("gpt.transformer.h[3]", "layers[*]", "Net.forward:x + f") == [
        "gpt-transformer-h-3--identity",
        "layers-any--identity",
        "net-forward-x-f--identity",
    ]
    assert slug("heads", AblationKind.DROP_HEAD, {"head": "0"}) == "heads--drop-head-0"
    assert names_of("a" * 100) == ["a" * 80 + "--identity"]


def test_names_that_would_share_a_folder_get_a_part_of_a_hash() -> None:
    found = names_of("act_1", "act[1]", "Act_1", "act__1", "other")
    assert len(set(found)) == 5
    assert all(re.fullmatch("act-1--identity-[0-9a-f]{6}", name) for name in found[:4])
    assert found[4] == "other--identity"


def test_the_hash_depends_on_nothing_else() -> None:
    [first, _] = names_of("act_1", "act[1]")
    assert names_of("a", "Act_1", "act_1")[2] == first


def test_letters_of_other_alphabets_are_written_in_ascii() -> None:
    assert names_of("net.α", "net.größe", "net.層", "net.ж") == [
        "net-alpha--identity",
        "net-grosse--identity",
        "net-u5c64--identity",
        "net-zhe--identity",
    ]


def test_a_name_without_letters_has_one() -> None:
    assert names_of("(+)") == ["part--identity"]
    assert all(name.startswith("part--identity-") for name in names_of("(+)", "·"))


TEXTS = st.one_of(
    st.text(max_size=12),
    st.text("aAbB_.[]1 -", max_size=6),
    st.text("αΑάßſſﬁ", max_size=4),
    st.sampled_from(["con", "NUL", "a" * 90, "a" * 91, "baseline", "../evil", "a.", "a "]),
)
KEYS = st.builds(
    lambda component, kind, options: key(component, kind, **options),
    TEXTS,
    st.sampled_from(AblationKind),
    st.dictionaries(st.sampled_from(["head", "use"]), TEXTS, max_size=2),
)


@given(st.lists(KEYS, unique=True, max_size=12), st.randoms(use_true_random=False))
def test_any_names_lead_to_folders_of_their_own(keys: list[VariantKey], random: Random) -> None:
    found = folder_names(keys)
    folded = [unicodedata.normalize("NFKD", name).casefold() for name in found.values()]
    assert len(set(folded)) == len(keys)
    for name in folded:
        assert name not in RESERVED
        assert name.isascii()
        assert name.isprintable()
        assert len(name) < 255
        assert not set(name) & set('/\\:*?"<>|. ')
    random.shuffle(keys)
    assert folder_names(keys) == found


def test_variants_that_differ_in_their_edits_alone_have_two_folders() -> None:
    edits = [Edit(file="m.py", start=n, end=n + 1, text="") for n in range(2)]
    keys = [key("a", AblationKind.ZERO, edit) for edit in edits]
    assert len(set(folder_names(keys).values())) == 2


def test_each_certificate_would_describe_its_own_file(tmp_path: Path, tracing: Server) -> None:
    project = written_project(tmp_path, COLLIDING)
    plan = plan_ablations(project, traced(tracing, project))
    names = [f"Net.{name}" for name in ("act_1", "act[1]", "Act_1", "act__1", "α", "ß", "層")]
    made = generate(part_of(plan, names), tmp_path / "out", [AblationKind.IDENTITY])
    assert [variant.component for variant in made] == names
    contents = {(tmp_path / "out" / variant.folder / "model.py").read_text() for variant in made}
    assert len(contents) == len(names)
    assert len({variant.folder.casefold() for variant in made}) == len(names)


def planned(tmp_path: Path, texts: Sequence[str], before: str = "") -> AblationPlan:
    """A plan in which each of some components replaces the "1" of `x = 1`."""
    place = len(before) + 4
    project = written_project(tmp_path, f"{before}x = 1\ndef build(): ...\ndef inputs(): ...\n")
    span = Span(file="model.py", start_line=1, start_column=0, end_line=1, end_column=5)
    plans = [
        ComponentPlan(
            component=Component(
                name=f"part {number}",
                kind=ComponentKind.MODULE,
                span=span,
                ran=True,
                kinds=(AblationKind.ZERO,),
            ),
            outcomes={
                AblationKind.ZERO: (
                    Planned(edits=(Edit(file="model.py", start=place, end=place + 1, text=text),)),
                )
            },
        )
        for number, text in enumerate(texts)
    ]
    return AblationPlan(project=project, framework="torch", sha256={}, plans=tuple(plans))


def test_the_same_edit_under_two_names_is_made_once(tmp_path: Path) -> None:
    made = generate(planned(tmp_path, ["2", "3", "2"]), tmp_path / "out")
    assert [variant.refusal for variant in made] == [None, None, "the same edit as part 0 zero"]
    assert [variant.folder for variant in made] == ["part-0--zero", "part-1--zero", ""]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("baseline", "part-0--zero", "part-1--zero"),
    }


def test_an_edit_that_the_files_encoding_lacks_is_refused(tmp_path: Path) -> None:
    plan = planned(tmp_path, ["'α'", "'é'"], "# coding: latin-1\n")
    one, two = generate(plan, tmp_path / "out")
    assert one.refusal == "the encoding of model.py, iso-8859-1, cannot write 'α'"
    found = (tmp_path / "out" / two.folder / "model.py").read_bytes()
    assert found.startswith(b"# coding: latin-1\nx = '\xe9'\n")
    assert "+x = 'é'\n" in (tmp_path / "out" / two.folder / "change.diff").read_text("utf-8")


def test_refusals_are_passed_on(tmp_path: Path) -> None:
    plan = planned(tmp_path, ["2"])
    outcomes = {AblationKind.ZERO: Refused(reason="no")}
    item = ComponentPlan(component=plan.plans[0].component, outcomes=outcomes)
    plan = AblationPlan(project=plan.project, framework="torch", sha256={}, plans=(item,))
    [variant] = generate(plan, tmp_path / "out")
    assert (variant.folder, variant.refusal) == ("", "no")
