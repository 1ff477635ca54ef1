"""A source keeps its own bytes: encoding, mark, line ends, and words that stay apart."""

from __future__ import annotations

import ast
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.ablate.records import Edit, NoLegalEdit
from antifragile.ablate.source.combine import combine_variants
from antifragile.ablate.source.edits import (
    edited,
    insert_after,
    insert_before,
    insert_helper,
    operand_text,
    remove_statement,
    replace,
    smallest_edits,
)
from antifragile.ablate.source.syntax import SourceFile, read_source
from antifragile.ablate.source.text import (
    decoded,
    diff_of,
    encoded,
    lines_of,
    needed_python,
    parse_file,
    parsed,
)
from antifragile.errors import SpecError

MARK = b"\xef\xbb\xbf"


def source(content: bytes) -> SourceFile:
    return SourceFile("model.py", decoded(content), content)


def call(code: SourceFile, text: str) -> ast.AST:
    """The one expression with that text."""
    expressions = (node for node in ast.walk(code.tree) if isinstance(node, ast.expr))
    [node] = [node for node in expressions if code.source(node) == text]
    return node


def statement(code: SourceFile, text: str) -> ast.stmt:
    return next(
        node
        for node in ast.walk(code.tree)
        if isinstance(node, ast.stmt) and code.source(node).startswith(text)
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x = 1",
        b"x = 1\r\ny = 2\rz = 3\n",
        MARK + b"x = 1\n",
        "x = 'größe ∑'\n".encode(),
        b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
        b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nx = '\x80'\n",
        MARK + b"# coding: utf-8\nx = 1\n",
    ],
)
def test_without_an_edit_a_file_has_its_own_bytes(content: bytes) -> None:
    assert encoded(decoded(content), content) == content
    assert edited(content, []) == content
    assert not decoded(content).startswith("\ufeff")


@pytest.mark.parametrize(
    "content",
    [
        b"x = '\xe9'\n",
        b"# coding: no-such\nx = 1\n",
        MARK + b"# coding: latin-1\nx = 1\n",
        b"x = 1\0\n",
        b"# coding: utf-7\nx = '+AGE-'\n",  # it would come back as 'a'
    ],
)
def test_bytes_that_are_no_text_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.py"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        parse_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_lines_are_pythons_lines() -> None:
    text = "a\x0cb\x0bc\u2028d\x85e\x1cf\r\ng\rh\n\ni"
    assert lines_of(text) == ["a\x0cb\x0bc\u2028d\x85e\x1cf\r\n", "g\r", "h\n", "\n", "i"]
    assert lines_of("") == []


ODD = "# \u2028 \x85\n\x0c\nclass A:\r\n\ttext = '\u2028\x0b'\r\ty = f(x)  # ablate: f \x1c\n"


def test_places_behind_what_only_looks_like_a_line_end() -> None:
    code = source(ODD.encode())
    node = call(code, "f(x)")
    assert edited(code.content, [replace(code, node, "x")]).decode() == ODD.replace("f(x)", "x")
    assert code.span(node).start_line == 5
    assert code.span(node).start_column == 5
    assert code.marks == (("f", 5),)


def test_the_mark_shifts_no_place() -> None:
    code = source(MARK + b"y = f(x)\n")
    found = edited(code.content, [replace(code, call(code, "f(x)"), "x")])
    assert found == MARK + b"y = x\n"


def test_a_file_in_another_encoding_is_edited_in_it() -> None:
    code = source(b"# coding: latin-1\ny = '\xe9', f(x), '\xfc'\n")
    found = edited(code.content, [replace(code, call(code, "f(x)"), "x")])
    assert found == b"# coding: latin-1\ny = '\xe9', x, '\xfc'\n"


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    texts = {MARK + b"x = 1\n", b"x = 1\n", b"x = 1\r\n", b"# coding: latin-1\nx = 1\n"}
    hashes = set()
    for content in texts:
        (tmp_path / "model.py").write_bytes(content)
        hashes.add(read_source(str(tmp_path), "model.py").sha256)
    assert len(hashes) == len(texts)


@pytest.mark.parametrize(
    ("text", "place", "new", "expected"),
    [
        ("y = x if 0else f(x)", "f(x)", "x", "y = x if 0else x"),
        ("y = f(x)if z else w", "f(x)", "x", "y = x if z else w"),
        ("y = w if f(x)else w", "f(x)", "0", "y = w if 0 else w"),
        ("y = f(x)and(z)", "f(x)", "x", "y = x and(z)"),
        ("y = (w)or f(x)in(z)", "f(x)", "x", "y = (w)or x in(z)"),
        ("y = [x for x in(z)if f(x)if w]", "f(x)", "x", "y = [x for x in(z)if x if w]"),
        ("y = f(x).real", "f(x)", "1", "y = 1 .real"),
        ("y = f(x).real", "f(x)", "a1", "y = a1.real"),
        ("y = ä if f(x)else ß", "f(x)", "é", "y = ä if é else ß"),
        ("y = lambda:f(x)", "f(x)", "x", "y = lambda:x"),
        ("y = f(x)\\\n+ z", "f(x)", "x", "y = x\\\n+ z"),
    ],
)
def test_words_stay_apart(text: str, place: str, new: str, expected: str) -> None:
    code = source(text.encode())
    found = edited(code.content, [replace(code, call(code, place), new)]).decode()
    assert found == expected
    parsed(found)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def g():\n    return", ""),
        ("def g():\n    yield", ""),
        ("y = not", ""),
        ("assert", ""),
        ("y = 1 in", ""),
        ("y = 1if", "else 2"),
        ("y = [x for x in", "if x]"),
        ("while", ":pass"),
        ("if", ":pass"),
        ("with", "as z:pass"),
        ("print(1 if", "else 2)"),
        ("raise", ""),
        ("y = lambda:", ""),
    ],
)
@pytest.mark.parametrize("kept", ["x", "self.x", "f(x)", "'text'", "0"])
def test_a_kept_operand_stays_apart_from_the_words_around(
    before: str, after: str, kept: str
) -> None:
    code = source(f"{before}(a)+(b){after}\n".encode())
    [node] = [node for node in code.sites if isinstance(node, ast.BinOp)]
    found = edited(code.content, [replace(code, node, kept)]).decode()
    wanted = f"{before} ({kept}) {after}\n"
    assert ast.dump(parsed(found)) == ast.dump(parsed(wanted))


def test_inserted_lines_end_as_those_around_them() -> None:
    code = source(b"import a\r\nclass A:\r\n\tdef f(self):\n\t\tself.x = g()\n\t\treturn 1\r\n")
    helper = insert_helper(code, call(code, "g()"), "def h():\n    return 1")
    behind = insert_after(code, statement(code, "self.x"), "self.y = 1\nself.z = 2")
    above = insert_before(code, statement(code, "return"), "w = 1")
    assert helper.text == "def h():\r\n    return 1\r\n\r\n\r\n"
    assert behind.text == "\t\tself.y = 1\r\n\t\tself.z = 2\r\n"
    assert above.text == "\t\tw = 1\r\n"
    last = source(b"class A:\r\n\tx = f()")
    edit = insert_after(last, statement(last, "x"), "y = 1")
    assert edited(last.content, [edit]) == b"class A:\r\n\tx = f()\r\n\ty = 1"


@pytest.mark.parametrize(
    ("text", "inserted"),
    [
        ("class A:\n x = f(); y = g(\n  1)\n", "class A:\n x = f(); y = g(\n  1)\n z = 1\n"),
        ("class A: x = f()\n", "class A: x = f(); z = 1\n"),
        ("x = f(); y = 1\n", "x = f(); y = 1\nz = 1\n"),
        ("if a: x = f()  # why\n", "if a: x = f(); z = 1  # why\n"),
    ],
)
def test_a_line_behind_a_statement_that_shares_its_line(text: str, inserted: str) -> None:
    code = source(text.encode())
    found = edited(code.content, [insert_after(code, statement(code, "x"), "z = 1")]).decode()
    assert found == inserted
    ast.parse(found)


def test_a_block_behind_a_statement_on_its_headings_line_is_refused() -> None:
    code = source(b"class A: x = f()\n")
    with pytest.raises(NoLegalEdit, match="its block stands on the line of its heading"):
        insert_after(code, statement(code, "x"), "if y:\n    z = 1")


def test_a_line_above_a_decorated_statement_stands_above_the_decorator() -> None:
    code = source(b"def f():\n    @wrap\n    def g(): ...\n")
    edit = insert_before(code, statement(code, "def g"), "x = 1")
    assert edited(code.content, [edit]) == b"def f():\n    x = 1\n    @wrap\n    def g(): ...\n"


@pytest.mark.parametrize("first", ["# coding: latin-1\n", "#!/usr/bin/python\n# coding: latin-1\n"])
def test_a_helper_stays_below_the_lines_that_must_come_first(first: str) -> None:
    code = source(f"{first}# about A\nclass A:\n    x = f()\n".encode())
    edit = insert_helper(code, call(code, "f()"), "def g(): ...")
    expected = f"{first}def g(): ...\n\n\n# about A\nclass A:\n    x = f()\n"
    assert edited(code.content, [edit]).decode() == expected


def test_a_diff_keeps_line_ends_and_the_mark() -> None:
    old, new = MARK + b"a = 1\r\nb = 2\rc\x0c = 3", MARK + b"a = 0\r\nb = 2\rc\x0c = 3"
    assert diff_of(old, new, "a/m", "b/m") == [
        "--- a/m\n",
        "+++ b/m\n",
        "@@ -1,2 +1,2 @@\n",
        "-\ufeffa = 1\r\n",
        "+\ufeffa = 0\r\n",
        " b = 2\rc\x0c = 3\n\\ No newline at end of file\n",
    ]


def test_combined_variants_keep_the_bytes_too(tmp_path: Path) -> None:
    base = MARK + "a = 'ü\u2028', 1\r\nb = 1\n".encode()
    variants = {"one": base.replace(b"', 1", b"', 2"), "two": base.replace(b"b = 1", b"b = 2")}
    for name, content in (("baseline", base), *variants.items()):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.py").write_bytes(content)
        (tmp_path / name / "data.bin").write_bytes(b"\xff\0")
    edits = {
        name: list(smallest_edits(decoded(base), decoded(content), file="m.py"))
        for name, content in variants.items()
    }
    combine_variants(tmp_path, edits, ["m.py", "data.bin"], tmp_path / "both")
    expected = base.replace(b"', 1", b"', 2").replace(b"b = 1", b"b = 2")
    assert (tmp_path / "both" / "m.py").read_bytes() == expected
    assert (tmp_path / "both" / "data.bin").read_bytes() == b"\xff\0"


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("class Block[T](nn.Module):", "3.12 or later (type parameters)"),
        ("    async def f[T](x): ...", "3.12 or later (type parameters)"),
        ("class Block[T = int]: ...", "3.13 or later (type defaults)"),
        ("type Pair[T] = tuple[T, T]", "3.12 or later (a type statement)"),
        ('x = f"bad {f"{x.shape}"}"', "3.12 or later (quotes within an f-string's own)"),
        ("    except ValueError, TypeError:", "3.14 or later (exceptions without parentheses)"),
        ("x = t'{y}'", "3.14 or later (t-strings)"),
    ],
)
def test_the_python_that_a_line_needs_is_named(
    line: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", Version(3, 11))
    assert needed_python(line) == (
        f"Python 3.11 runs this, and the line needs {needed}; run antifragile with that."
    )
    monkeypatch.setattr(sys, "version_info", Version(3, 14))
    assert "needs" not in needed_python(line)


class Version(tuple[int, ...]):
    """A stand-in for `sys.version_info`."""

    def __new__(cls, *parts: int) -> Version:
        return super().__new__(cls, parts)

    major = property(lambda self: self[0])
    minor = property(lambda self: self[1])


@pytest.mark.parametrize("line", ["x = (1,", "def f(:", "print 'a'", 'x = f"{a"', "class A(B)[T]:"])
def test_a_line_that_no_python_reads_needs_none(line: str) -> None:
    assert needed_python(line).startswith("The file must be Python; Python 3.")


def test_a_file_for_a_later_python_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text("x = 1\nexcept A, B:\n")
    with pytest.raises(SpecError, match=r"model\.py:2: .* run"):
        parse_file(path)


def test_a_file_that_is_nested_too_deeply_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    for text in ("-" * 100_000 + "1", "(" * 100_000):
        path.write_text(text)
        with pytest.raises(SpecError, match="The file must be Python"):
            parse_file(path)


def test_what_python_warns_of_is_the_authors_affair() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source(b"x = '\\d'\ny = x if 0else f(x)\n")


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
FILLERS = st.sampled_from(
    ["", "# é", "\x0c", "# \x85 \xa0", "s = 'ü \x0b \x1c'", "if z:\n\tpass", "v = (1, # a\n 2)"]
)
STATEMENTS = ["y = f(x)", "y = (f(x))if f(x)else(z)", "y = 'é', f(x), 'ü'", "y = [f(x)for x in(z)]"]


@given(
    st.lists(st.tuples(FILLERS, st.sampled_from(STATEMENTS), LINE_ENDS), min_size=1, max_size=6),
    st.sampled_from([(b"", "utf-8"), (MARK, "utf-8"), (b"# coding: latin-1\r\n", "latin-1")]),
    st.booleans(),
    st.data(),
)
def test_bytes_outside_an_edit_are_the_files_own(
    parts: list[tuple[str, str, str]], head: tuple[bytes, str], ends: bool, data: st.DataObject
) -> None:
    text = "".join(
        line.replace("\n", end) + end for filler, code, end in parts for line in (filler, code)
    )
    text = text if ends else text.rstrip("\r\n")
    content = head[0] + text.encode(head[1])
    code = source(content)
    nodes = [node for node in code.sites if isinstance(node, ast.Call)]
    node = data.draw(st.sampled_from(nodes))
    new = data.draw(st.sampled_from(["x", "'q'", "h(\nx)", "0"]))
    edit = replace(code, node, new)
    found = edited(content, [edit])
    old = code.text[edit.start : edit.end].encode(head[1])
    start = len(encoded(code.text[: edit.start], content))
    assert content[:start] == found[:start]
    assert content[start : start + len(old)] == old == b"f(x)"
    assert content[start + len(old) :] == found[start + len(edit.text) :]
    assert edit.text.strip().replace("\r\n", "\n").replace("\r", "\n") == new
    compile(found, "model.py", "exec")
    again = smallest_edits(
        code.text, found.decode("utf-8-sig" if head[0] == MARK else head[1]), file="m"
    )
    assert edited(content, list(again)) == found


def test_a_removed_statement_takes_its_own_line_alone() -> None:
    code = source(b"x = f()\r\ny = 1\rz = 2\n")
    edit = remove_statement(code, statement(code, "y"))
    assert edited(code.content, [edit]) == b"x = f()\r\nz = 2\n"
    assert edit == Edit(file="model.py", start=9, end=15, text="")


def test_an_operand_over_several_lines_keeps_their_ends() -> None:
    code = source(b"y = (x + f(a,\r\n  b))\r\n")
    node = next(node for node in code.sites if isinstance(node, ast.BinOp))
    assert isinstance(node, ast.BinOp)
    found = edited(code.content, [replace(code, node, operand_text(code, node.right, inside=node))])
    assert found == b"y = ((f(a,\r\n  b)))\r\n" or found == b"y = (f(a,\r\n  b))\r\n"
