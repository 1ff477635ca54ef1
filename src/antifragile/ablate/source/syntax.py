"""A source file as a tree with exact places; each expression an ablation could edit has a number.

Sites are numbered in the order of the tree, so that the instrumented copy that runs and the text
that is edited agree on them. Places are character offsets into the text: an edit replaces a span
and leaves every other byte alone.
"""

from __future__ import annotations

import ast
import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path

from antifragile.ablate.records import Span
from antifragile.ablate.source.text import comments_of, decoded, lines_of, parsed

SIGNS: dict[type[ast.operator], str] = {  # of the operators that are sites
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
_FRAME_SENSITIVE = {
    *("super", "locals", "globals", "vars", "dir", "eval", "exec", "print", "len"),
    *("range", "int", "float", "str", "bool", "setattr", "type", "id", "repr"),
    *("namedtuple", "NamedTuple", "TypeVar", "NewType", "dataclass", "field"),
}
_NOT_RUN = {"annotation", "returns", "decorator_list", "args", "bases", "pattern"}
_MARK = re.compile(r"#\s*ablate:\s*([^#]*)")
_CLASS_GUARD = re.compile(r"isinstance|hasattr|type\(|__class__|__name__|class_?name")


class SourceFile:
    """One file: its text, its tree, its numbered sites.

    Args:
        file: Its name, relative to the project's root.
        text: Its text, as `text.decoded` returns it.
        content: Its bytes; those of the text in UTF-8 when None.
    """

    def __init__(self, file: str, text: str, content: bytes | None = None) -> None:
        self.file = file
        self.text = text
        self.content = text.encode() if content is None else content
        self.tree = parsed(text)
        self.sites = sites_of(self.tree)
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }
        self._numbers = {node: number for number, node in enumerate(self.sites)}

    @property
    def sha256(self) -> str:
        """Hash of the bytes as they lie on disk."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def _line_starts(self) -> list[int]:
        return list(accumulate(map(len, self.lines), initial=0))

    @cached_property
    def lines(self) -> list[str]:
        """The lines, their ends included."""
        return lines_of(self.text)

    def number(self, node: ast.AST) -> int | None:
        """Return the number of the site that a node is, if it is one."""
        return self._numbers.get(node)

    def offset(self, line: int, byte_column: int) -> int:
        """Turn a line (1-based) and a column in UTF-8 bytes into a character offset."""
        characters = self.lines[line - 1].encode()[:byte_column].decode()
        return self._line_starts[line - 1] + len(characters)

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Return the start and end offsets of a node."""
        spot = node  # every node with a place has all four numbers
        assert isinstance(spot, ast.expr | ast.stmt | ast.keyword | ast.arg)
        assert spot.end_lineno is not None
        assert spot.end_col_offset is not None
        return (
            self.offset(spot.lineno, spot.col_offset),
            self.offset(spot.end_lineno, spot.end_col_offset),
        )

    def source(self, node: ast.AST) -> str:
        """Return the text of a node, without the parentheses around it."""
        start, end = self.place(node)
        return self.text[start:end]

    def span(self, node: ast.AST) -> Span:
        """Return where a node is, for people: lines from 1, columns from 0."""
        start, end = self.place(node)
        (start_line, start_column), (end_line, end_column) = map(self.line_column, (start, end))
        return Span(
            file=self.file,
            start_line=start_line,
            start_column=start_column,
            end_line=end_line,
            end_column=end_column,
        )

    def line_column(self, offset: int) -> tuple[int, int]:
        """Turn an offset into a line (1-based) and a column (0-based, in characters)."""
        line = min(bisect_right(self._line_starts, offset), max(len(self.lines), 1))
        return line, offset - self._line_starts[line - 1]

    def line_start(self, line: int) -> int:
        """Return the offset at which a line (1-based) starts."""
        return self._line_starts[line - 1]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes above a node, the nearest first, the module last."""
        while node is not self.tree:
            node = self.parents[node]
            yield node

    def function_of(self, node: ast.AST) -> ast.FunctionDef | None:
        """Return the innermost `def` around a node."""
        return next((one for one in self.above(node) if isinstance(one, ast.FunctionDef)), None)

    def class_of(self, node: ast.AST) -> ast.ClassDef | None:
        """Return the innermost class around a node."""
        return next((one for one in self.above(node) if isinstance(one, ast.ClassDef)), None)

    def qualified_name(self, node: ast.AST) -> str:
        """Return the dotted name of the classes and functions around a node; "" at top level."""
        kinds = ast.FunctionDef | ast.ClassDef
        names = [one.name for one in self.above(node) if isinstance(one, kinds)]
        return ".".join(reversed(names))

    def outer_statement_of(self, node: ast.AST, function: ast.FunctionDef) -> ast.stmt:
        """Return the statement of a function's own body that holds a node."""
        while self.parents[node] is not function:
            node = self.parents[node]
        assert isinstance(node, ast.stmt)
        return node

    def class_guard(self, node: ast.AST) -> bool:
        """Whether an `if` around a node asks for the class or the attributes of something."""
        tests = [one.test for one in self.above(node) if isinstance(one, ast.If | ast.IfExp)]
        return any(_CLASS_GUARD.search(ast.unparse(test)) for test in tests)

    @cached_property
    def marks(self) -> tuple[tuple[str, int], ...]:
        """Names and lines of the comments `# ablate: name`."""
        return marks_in(self.text)


def marks_in(text: str) -> tuple[tuple[str, int], ...]:
    """List the names and lines of the comments `# ablate: name` in the text of a file."""
    found = [(_MARK.search(comment), line) for comment, line in comments_of(text)]
    return tuple((match[1].strip(), line) for match, line in found if match)


def sites_of(tree: ast.Module) -> list[ast.AST]:
    """Number the expressions an ablation could touch, in the order of the tree."""
    return list(_sites_below(tree, inside_class=False))


def _sites_below(node: ast.AST, *, inside_class: bool) -> Iterator[ast.AST]:
    for child in _evaluated_children(node):
        is_class = isinstance(child, ast.ClassDef)
        if not inside_class and _is_site(child, node):
            yield child
        in_function = isinstance(child, ast.FunctionDef | ast.Lambda)
        yield from _sites_below(child, inside_class=is_class or (inside_class and not in_function))


def _evaluated_children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield children that run: no decorators, annotations, defaults or f-strings."""
    is_call, is_class = isinstance(node, ast.Call), isinstance(node, ast.ClassDef)
    for name, value in ast.iter_fields(node):
        if (name in _NOT_RUN and not is_call) or (name == "keywords" and is_class):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield child


def _is_site(node: ast.AST, parent: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else None
        asks_for_class = name == "type" and len(node.args) == 1
        return asks_for_class or name not in _FRAME_SENSITIVE
    if isinstance(node, ast.BinOp):
        return type(node.op) in SIGNS
    if isinstance(node, ast.AugAssign):
        return type(node.op) in SIGNS and _is_plain_target(node.target)
    if isinstance(node, ast.Attribute):
        is_callee = isinstance(parent, ast.Call) and parent.func is node
        is_private = node.attr.startswith("__")
        return isinstance(node.ctx, ast.Load) and not is_callee and not is_private
    if isinstance(node, ast.Subscript):  # self.gains["a"], self.scales[i], self.blocks[-1][0]
        owner = node.value
        while isinstance(owner, ast.Subscript):
            owner = owner.value
        is_read = isinstance(node.ctx, ast.Load) and isinstance(owner, ast.Attribute)
        return is_read and is_one_item(node.slice)
    return False


def is_one_item(index: ast.expr) -> bool:
    """Whether an index is a name or a constant, perhaps negative: no slice, no tuple."""
    if isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub):
        index = index.operand
    return isinstance(index, ast.Constant | ast.Name)


def _is_plain_target(target: ast.expr) -> bool:
    """Whether reading a target twice has no effect: a name, or attributes of a name."""
    while isinstance(target, ast.Attribute):
        target = target.value
    return isinstance(target, ast.Name)


def read_source(root: str, file: str) -> SourceFile:
    """Return a file of the project; the same object while its bytes stay the same."""
    return _source(file, Path(root, file).read_bytes())


@lru_cache(maxsize=64)
def _source(file: str, content: bytes) -> SourceFile:
    return SourceFile(file, decoded(content), content)
