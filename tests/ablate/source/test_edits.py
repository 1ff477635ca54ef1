"""An edit changes its span and nothing else, and leaves legal Python."""

from __future__ import annotations

import ast

import pytest

from antifragile.ablate.source.edits import (
    Edit,
    apply_edits,
    insert_after,
    insert_helper,
    operand_text,
    remove_statement,
    replace,
)
from antifragile.ablate.source.syntax import SourceFile


def source(text: str) -> SourceFile:
    return SourceFile("model.py", text)


def first(tree: ast.AST, kind: type[ast.AST]) -> ast.AST:
    return next(node for node in ast.walk(tree) if isinstance(node, kind))


def test_no_edit_is_no_change() -> None:
    text = "# a comment\nx = 1   # two\n"
    assert apply_edits(text, []) == text


def test_an_edit_behind_letters_of_several_bytes() -> None:
    code = source("name = 'größe ∑'; y = f(x)  # ü\n")
    edit = replace(code, first(code.tree, ast.Call), "x")
    assert apply_edits(code.text, [edit]) == "name = 'größe ∑'; y = x  # ü\n"


def test_windows_line_ends_stay() -> None:
    code = source("x = 1\r\ny = f(x)\r\n")
    edit = replace(code, first(code.tree, ast.Call), "x")
    assert apply_edits(code.text, [edit]) == "x = 1\r\ny = x\r\n"


@pytest.mark.parametrize(
    ("text", "place", "side", "expected"),
    [
        ("y = (a * b) + c", "(a * b) + c", "left", "y = a * b"),
        ("y = ((a + b) * c).relu()", "(a + b) * c", "left", "y = (a + b).relu()"),
        ("y = (a + b) * c + d", "(a + b) * c", "left", "y = (a + b) + d"),
        ("y = a * (b + c) * d", "a * (b + c)", "right", "y = (b + c) * d"),
        ("y = 2 * (x + (a - b))", "x + (a - b)", "right", "y = 2 * (a - b)"),
        ("y = [(a if c else b) + d]", "(a if c else b) + d", "left", "y = [(a if c else b)]"),
        ("y = f(x + (a or b))", "x + (a or b)", "right", "y = f(a or b)"),
        ("y = (x + f(a,\n  b))", "x + f(a,\n  b)", "right", "y = (f(a,\n  b))"),
    ],
)
def test_an_operand_in_place_of_a_sum(text: str, place: str, side: str, expected: str) -> None:
    code = source(text)
    [node] = [item for item in code.sites if code.source(item) == place]
    kept = operand_text(code, getattr(node, side), inside=node)
    found = apply_edits(text, [replace(code, node, kept)])
    assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(expected))


def test_a_removed_statement_takes_its_lines_along() -> None:
    code = source("def f(x):\n    y = 1\n    x += g(\n        x)\n    return x\n")
    edit = remove_statement(code, first(code.tree, ast.AugAssign))
    assert apply_edits(code.text, [edit]) == "def f(x):\n    y = 1\n    return x\n"


def test_the_last_statement_of_a_block_becomes_pass() -> None:
    code = source("if x:\n    x += 1  # why\ny = 2\n")
    edit = remove_statement(code, first(code.tree, ast.AugAssign))
    assert apply_edits(code.text, [edit]) == "if x:\n    pass  # why\ny = 2\n"


def test_a_statement_behind_a_colon_becomes_pass() -> None:
    code = source("if x: x += 1\n")
    edit = remove_statement(code, first(code.tree, ast.AugAssign))
    assert apply_edits(code.text, [edit]) == "if x: pass\n"


def test_a_helper_stands_above_decorators_and_comments() -> None:
    code = source("import a\n\n# about A\n@wrap\nclass A:\n    x = f()\n")
    edit = insert_helper(code, first(code.tree, ast.Call), "def g(): ...")
    expected = "import a\n\ndef g(): ...\n\n\n# about A\n@wrap\nclass A:\n    x = f()\n"
    assert apply_edits(code.text, [edit]) == expected


def test_a_line_behind_the_last_one_of_a_file_without_line_end() -> None:
    code = source("class A:\n    def f(self):\n        self.x = 1")
    edit = insert_after(code, first(code.tree, ast.Assign), "self.y = 2")
    assert apply_edits(code.text, [edit]).endswith("        self.x = 1\n        self.y = 2")


def test_overlapping_edits_are_a_fault_of_ours() -> None:
    edits = [Edit(file="m", start=0, end=3, text=""), Edit(file="m", start=2, end=4, text="")]
    with pytest.raises(AssertionError, match="overlap"):
        apply_edits("abcdef", edits)
