"""Variants are the user's files with a few lines changed; the baseline is byte-identical."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Variant
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.edits import apply_edits
from antifragile.errors import SpecError
from tests.ablate.model_projects import (
    model_plan,
    model_project,
    model_trace,
    part_of,
    traced,
    written_project,
)

Make = Callable[[str, str, AblationKind], list[Variant]]
KINDS = tuple(AblationKind)


@pytest.fixture
def make(tmp_path: Path, tracing: Server) -> Make:
    def made(model: str, name: str, kind: AblationKind) -> list[Variant]:
        plan = part_of(model_plan(tracing, model), [name])
        assert plan.components, f"no component {name}"
        return list(generate(plan, tmp_path, [kind]))

    return made


def changes(folder: Path, variant: Variant) -> list[str]:
    """The removed and added lines of a variant."""
    lines = (folder / variant.folder / "change.diff").read_text().splitlines()
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


@pytest.mark.parametrize(
    ("model", "component", "kind", "expected"),
    [
        (
            "functional_residual",
            "Net.forward:x + torch.tanh",
            AblationKind.REMOVE_BRANCH,
            [
                "-        x = x + torch.tanh(self.inner(x))  # the branch bends, the skip does not",
                "+        x = x  # the branch bends, the skip does not",
            ],
        ),
        (
            "functional_residual",
            "Net.forward:x + torch.tanh",
            AblationKind.REMOVE_SKIP,
            [
                "-        x = x + torch.tanh(self.inner(x))  # the branch bends, the skip does not",
                "+        x = torch.tanh(self.inner(x))  # the branch bends, the skip does not",
            ],
        ),
        (
            "shortcut_in_place",
            "Block.forward:out + self.shortcut",
            AblationKind.REMOVE_SKIP,
            ["-        out += self.shortcut(x)"],
        ),
        (
            "shortcut_in_place",
            "Block.forward:out + self.shortcut",
            AblationKind.REMOVE_BRANCH,
            ["-        out += self.shortcut(x)", "+        out = self.shortcut(x)"],
        ),
        (
            "shortcut_in_place",
            "Block.norm",
            AblationKind.IDENTITY,
            ["-        self.norm = nn.BatchNorm2d(out)", "+        self.norm = nn.Identity()"],
        ),
        (
            "gates",
            "Net.forward:x * g",
            AblationKind.IDENTITY,
            ["-        x = x * g[:, :, None, None]", "+        x = x"],
        ),
        (
            "glu",
            "Net.forward:F.glu",
            AblationKind.IDENTITY,
            [
                "-        x = F.glu(self.second(x), dim=-1)",
                "+        x = self.second(x).chunk(2, -1)[0]",
            ],
        ),
        (
            "concat_skips",
            "Up.forward:cat[skip]",
            AblationKind.ZERO,
            [
                "-        x = torch.cat([skip, self.up(x)], dim=1)  # the skip first",
                "+        x = torch.cat([torch.zeros_like(skip), self.up(x)], dim=1)"
                "  # the skip first",
            ],
        ),
        (
            "python_list",
            "Net.blocks[1]",
            AblationKind.IDENTITY,
            ["+        self.blocks[1] = nn.Identity()"],
        ),
        (
            "python_list",
            "Net.blocks[*] (all)",
            AblationKind.SHRINK,
            ["+        self.blocks = self.blocks[:2]"],
        ),
        (
            "module_list",
            "Net.layers[*] (all)",
            AblationKind.SHRINK,
            ["+        self.layers = self.layers[:2]"],
        ),
        (
            "two_depths",
            "Stack.layers[1]",
            AblationKind.IDENTITY,
            ["+        if len(self.layers) > 1:", "+            self.layers[1] = nn.Identity()"],
        ),
        (
            "shared_depth",
            "Net.forward:self.shared (use 2)",
            AblationKind.IDENTITY,
            ["-        x = x + self.shared(x)", "+        x = x + x"],
        ),
        (
            "shared_depth",
            "Net.shared",
            AblationKind.IDENTITY,
            ["-        self.shared = nn.Linear(6, 6)", "+        self.shared = nn.Identity()"],
        ),
        (
            "raw_parameters",
            "Net.positions",
            AblationKind.ZERO,
            [
                "-        x = x + self.positions",
                "+        x = x + torch.zeros_like(self.positions)",
            ],
        ),
        (
            "raw_parameters",
            "Net.token",
            AblationKind.FREEZE,
            [
                "-        self.token = nn.Parameter(torch.randn(1, 1, 6))",
                "+        self.token = nn.Parameter(torch.randn(1, 1, 6)).requires_grad_(False)",
            ],
        ),
        (
            "ordered_dict",
            "Net.tail1",
            AblationKind.IDENTITY,
            ["+        self.tail1 = nn.Identity()"],
        ),
        (
            "training_script",
            "mark:decay",
            AblationKind.DISABLE,
            [
                "-    loss = loss + 0.01 * sum(p.pow(2).sum() for p in model.parameters())"
                "  # ablate: decay"
            ],
        ),
        (
            "training_script",
            "mark:margin",
            AblationKind.DISABLE,
            ["-    loss += F.relu(1 - y.abs()).mean()"],
        ),
        (
            "bare_script",
            "mark:sparsity",
            AblationKind.DISABLE,
            ["-        + 0.1 * model.one.weight.abs().sum()  # ablate: sparsity"],
        ),
        (
            "two_inputs",
            "input:ids",
            AblationKind.ZERO,
            ["+        ids = torch.zeros_like(ids)"],
        ),
        (
            "two_inputs",
            "input:values[1]",
            AblationKind.ZERO,
            ["+        values = values.clone()", "+        values[:, 1] = 0"],
        ),
    ],
)
def test_the_change_is_these_lines(
    tmp_path: Path,
    make: Make,
    model: str,
    component: str,
    kind: AblationKind,
    expected: list[str],
) -> None:
    [variant] = make(model, component, kind)
    assert changes(tmp_path, variant) == expected
    assert variant.diff_lines == len(expected)


def test_heads_are_cut_before_the_projection(tmp_path: Path, make: Make) -> None:
    variants = make("attention", "ByHand.forward:heads", AblationKind.DROP_HEAD)
    assert [variant.options for variant in variants] == [{"head": str(head)} for head in range(4)]
    assert changes(tmp_path, variants[2])[-2:] == [
        "-        y = (weights @ v).transpose(1, 2).reshape(B, T, C)",
        "+        y = without_head((weights @ v).transpose(1, 2), 2, axis=2).reshape(B, T, C)",
    ]


def test_heads_of_a_library_layer_are_cut_at_its_call(tmp_path: Path, make: Make) -> None:
    first, _ = make("attention", "Net.forward:self.attend heads", AblationKind.DROP_HEAD)
    assert changes(tmp_path, first)[-2:] == [
        "-        y, _ = self.attend(x, x, x, need_weights=False)",
        "+        y, _ = without_head(self.attend, 0, x, x, x, need_weights=False)",
    ]


def test_the_baseline_is_byte_identical(tmp_path: Path, tracing: Server) -> None:
    for model in ("concat_skips", "training_script"):
        project = model_project(model)
        generate(part_of(model_plan(tracing, model), []), tmp_path / model)
        for file in (*project.sources, *project.companions):
            copied = (tmp_path / model / "baseline" / file).read_bytes()
            assert copied == Path(project.root, file).read_bytes()


def test_variant_toml_says_what_made_it(tmp_path: Path, tracing: Server, make: Make) -> None:
    [variant] = make("tied_weights", "Net.norm", AblationKind.IDENTITY)
    table = tomllib.loads((tmp_path / variant.folder / "variant.toml").read_text())
    assert (table["component"], table["kind"]) == ("Net.norm", "identity")
    assert table["build"] == "tied_weights.py:build"
    assert table["sources"] == dict(model_trace(tracing, "tied_weights").sha256)
    assert table["parameter_delta"] == -16
    assert table["cut_parameters"] == ["norm.weight", "norm.bias"]


def test_the_kept_edits_make_the_variant(tmp_path: Path, tracing: Server) -> None:
    variants = generate(model_plan(tracing, "attention"), tmp_path, KINDS)
    base = (tmp_path / "baseline" / "attention.py").read_text()
    written = [variant for variant in variants if variant.folder]
    assert len(written) > 10
    for variant in written:
        text = (tmp_path / variant.folder / "attention.py").read_text()
        assert apply_edits(base, variant.edits) == text


def test_the_same_variant_is_written_again(tmp_path: Path, make: Make) -> None:
    [variant] = make("glu", "Net.glu", AblationKind.IDENTITY)
    before = {p: p.read_bytes() for p in (tmp_path / variant.folder).rglob("*") if p.is_file()}
    assert make("glu", "Net.glu", AblationKind.IDENTITY) == [variant]
    assert before == {
        p: p.read_bytes() for p in (tmp_path / variant.folder).rglob("*") if p.is_file()
    }


@pytest.mark.parametrize(
    ("model", "component", "kind", "reason"),
    [
        (
            "plain_sequential",
            "[2]",
            AblationKind.ZERO,
            "no gradient from the output would reach the input",
        ),
        ("hidden_state", "Net.encoder", AblationKind.MEAN, "returns more than one tensor"),
        (
            "tied_weights",
            "Net.tokens",
            AblationKind.IDENTITY,
            "it turns shape (4, 7) into (4, 7, 8)",
        ),
        ("tied_weights", "input:ids", AblationKind.ZERO, "it is the only input"),
        ("dense_concat", "Net.layers[*] (all)", AblationKind.SHRINK, "change the shape"),
        (
            "two_depths",
            "Stack.forward:layer + before",
            AblationKind.REMOVE_BRANCH,
            "not always a tensor",
        ),
    ],
)
def test_a_refusal_says_why(
    make: Make, model: str, component: str, kind: AblationKind, reason: str
) -> None:
    [variant] = make(model, component, kind)
    assert variant.folder == ""
    assert variant.refusal is not None
    assert reason in variant.refusal


def test_what_is_predicted_to_lose_its_gradient(make: Make) -> None:
    [branch] = make("zero_initialised", "Net.forward:x + self.second", AblationKind.REMOVE_BRANCH)
    assert branch.cut_parameters == (
        *("first.weight", "first.bias", "second.weight", "second.bias"),
    )
    [tied] = make("tied_weights", "Net.head", AblationKind.IDENTITY)
    assert (tied.parameter_delta, tied.cut_parameters) == (0, ())
    [shared] = make("shared_depth", "Net.shared", AblationKind.IDENTITY)
    assert shared.parameter_delta == -42


def test_no_variant_imports_this_package(tmp_path: Path, tracing: Server) -> None:
    for model in ("attention", "concat_skips", "weight_normed"):
        generate(model_plan(tracing, model), tmp_path, KINDS)
    files = list(tmp_path.rglob("*.py"))
    assert len(files) > 50
    assert not any("antifragile" in path.read_text() for path in files)


def test_a_users_template_comes_first(tmp_path: Path, tracing: Server) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "mine.toml").write_text(
        '[[template]]\ncomponent = "functional"\nablation = "identity"\nmatch = ["tanh"]\n'
        'shapes = "same"\nreplacement = "{input}.clamp(-1, 1)"\nsubstitute = "straight lines"\n'
    )
    project, seen = (
        model_project("functional_residual"),
        model_trace(tracing, "functional_residual"),
    )
    plan = plan_ablations(project, seen, templates=tmp_path / "templates")
    [tanh] = [item.name for item in plan.components if item.name.endswith(":torch.tanh")]
    out = tmp_path / "out"
    [variant] = generate(part_of(plan, [tanh]), out, [AblationKind.IDENTITY])
    assert variant.substitute == "straight lines"
    assert changes(out, variant)[1].startswith("+        x = x + self.inner(x).clamp(-1, 1)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[template]\n", "Expected TOML"),
        ('[[template]]\nablation = "identity"\n', "the field 'component' is missing"),
        ('[[template]]\nreplace = "x"\n', "unknown field 'replace'; did you mean 'replacement'?"),
    ],
)
def test_a_wrong_template_is_one_sentence(
    tmp_path: Path, tracing: Server, text: str, message: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    project, seen = model_project("glu"), model_trace(tracing, "glu")
    with pytest.raises(SpecError) as error:
        plan_ablations(project, seen, templates=tmp_path)
    assert message in str(error.value)


def test_torch_is_imported_where_a_file_lacks_it(tmp_path: Path, tracing: Server) -> None:
    text = (
        "from torch.nn import Linear, Module\n\n\nclass Net(Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.one = Linear(3, 3)\n"
        "        self.two = Linear(3, 3)\n"
        "\n    def forward(self, x):\n        return self.two(self.one(x))\n\n\n"
        "def build():\n    return Net()\n\n\ndef inputs():\n    import torch\n\n"
        "    return (torch.ones(2, 3),)\n"
    )
    project = written_project(tmp_path, text)
    plan = part_of(plan_ablations(project, traced(tracing, project)), ["Net.one"])
    [variant] = generate(plan, tmp_path / "out")
    changed = (tmp_path / "out" / variant.folder / "model.py").read_text()
    assert "import torch\n\n\nclass Net" in changed
    assert "self.one = torch.nn.Identity()" in changed
