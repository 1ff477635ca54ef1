"""Several ablations in one text: edits go together, are absorbed, or are refused with the place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.ablate.records import Edit
from antifragile.ablate.source.combine import CombineError, combine_variants, merge_edits
from antifragile.ablate.source.edits import apply_edits, smallest_edits
from antifragile.errors import StoreError

BASE = """\
class Block(Module):
    def forward(self, x):
        x = x + self.attn(self.ln1(x))  # attention
        x = x + self.mlp(self.ln2(x))
        return x
"""
LN1 = BASE.replace("self.ln1(x)", "x")
NO_ATTENTION = BASE.replace("x = x + self.attn(self.ln1(x))", "x = x")
NO_MLP = BASE.replace(" + self.mlp(self.ln2(x))", "")
ONLY_MLP = BASE.replace("x = x + self.mlp", "x = self.mlp")
HELPED = "class Helper:\n    pass\n\n\n" + BASE


def edits_to(text: str) -> list[Edit]:
    return list(smallest_edits(BASE, text, file="model.py"))


def merged(**variants: str) -> str:
    edits = {name: edits_to(text) for name, text in variants.items()}
    return merge_edits(BASE, edits, file="model.py")


def test_nothing_combined_is_the_base() -> None:
    assert merged() == BASE
    assert merged(same=BASE) == BASE


def test_edits_of_different_lines_go_together() -> None:
    both = merged(ln1=LN1, mlp=NO_MLP)
    assert "x = x + self.attn(x)  # attention" in both
    assert "        x = x\n        return x" in both
    assert merged(mlp=NO_MLP, ln1=LN1) == both


def test_what_is_removed_absorbs_the_ablations_inside_it() -> None:
    assert merged(ln1=LN1, attention=NO_ATTENTION) == NO_ATTENTION
    assert merged(attention=NO_ATTENTION, ln1=LN1) == NO_ATTENTION


def test_the_same_edit_twice_is_made_once() -> None:
    assert merged(one=HELPED, two=HELPED) == HELPED


def test_edits_that_exclude_one_another_are_refused_with_the_line() -> None:
    message = r"mlp and skip change the same place \(model.py, line 4\)"
    with pytest.raises(CombineError, match=message):
        merged(mlp=NO_MLP, skip=ONLY_MLP)


def test_a_result_that_is_not_python_is_refused() -> None:
    one = BASE.replace("        return x\n", "")
    two = "\n".join(BASE.splitlines()[:2]) + "\n" + "        return x\n"
    with pytest.raises(CombineError, match=r"one and two cannot be applied together: model.py"):
        merged(one=one, two=two)


def test_two_helpers_of_one_name_are_refused_unless_they_are_the_same() -> None:
    other = HELPED.replace("pass", "size = 3").replace("self.ln2(x)", "x")
    message = r"one and two both add a 'Helper' to model\.py, not the same one"
    with pytest.raises(CombineError, match=message):
        merged(one=HELPED, two=other)
    first = LN1.replace("        return x", "        kept = x[0]\n        return kept")
    second = NO_MLP.replace("        return x", "        kept = x[1]\n        return kept")
    with pytest.raises(CombineError, match="both add a 'kept'"):
        merged(one=first, two=second)


@given(st.text("ab (\n", max_size=30), st.text("ab (\n", max_size=30))
def test_the_edits_of_any_text_lead_to_it(base: str, text: str) -> None:
    assert apply_edits(base, list(smallest_edits(base, text, file="f"))) == text


TWO = {"a--identity": edits_to(LN1), "b--identity": edits_to(NO_MLP)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with a baseline and two variants, two files each."""
    for name, text in (("baseline", BASE), ("a--identity", LN1), ("b--identity", NO_MLP)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.py").write_text(text)
        (tmp_path / name / "other.py").write_bytes(b"X = 1\r\n")
    return tmp_path


def test_a_combined_folder_has_every_file_and_the_whole_diff(out: Path) -> None:
    to = out / "both"
    combine_variants(out, TWO, ["model.py", "other.py"], to)
    assert (to / "model.py").read_text() == merged(a=LN1, b=NO_MLP)
    assert (to / "other.py").read_bytes() == b"X = 1\r\n"
    diff = (to / "change.diff").read_text()
    assert diff.count("\n-  ") == 2
    assert "other.py" not in diff


def test_a_variant_that_was_changed_since_is_not_combined(out: Path) -> None:
    (out / "a--identity" / "model.py").write_text(ONLY_MLP)
    message = r"a--identity/model\.py is not what its kept edits make of the baseline; generate"
    with pytest.raises(StoreError, match=message):
        combine_variants(out, TWO, ["model.py"], out / "both")
