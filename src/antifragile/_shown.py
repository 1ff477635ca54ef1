r"""Text of others, made fit to be shown: nothing hidden, nothing secret, nothing endless.

Names, reasons and messages may come from a file, a model or a database. `visible` shows control
characters as ``\x1b``, so that none of them steers a terminal or breaks a page; `cut` shortens
what is too long for a sentence; `show_address` shows the address of a store without its secrets,
`show_path` a path from the current folder.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, unquote_plus

# Controls of both kinds but tab and line feed, marks that turn the direction of writing, further
# ends of lines, and halves of characters, as which Python keeps bytes that are not UTF-8.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_OR_BREAK = re.compile(f"[\t\n{_CONTROLS}]")
_LONGEST_WORD, _WORD_TAIL = 300, 80
_LONGEST_LINE, _LINE_TAIL = 2000, 400
_HIDDEN = "***"
_PASSWORD_OF_URL = re.compile(r"(\w://[^\s/?#:@]*:)[^\s/?#]+@")
_SCHEME = re.compile(r"\s*[A-Za-z][\w.+-]*:/+")
_SCHEME_OF_PATH = re.compile(r"\s*[A-Za-z][\w.+-]+:/")  # a path has one slash where two stood
# How the source of a metric begins, as in csv:{out}/log.csv:loss@min; no database has such a name.
_METRIC = re.compile(r"(?:--metric=)?(?:csv|json|regex|tensorboard|wandb|mlflow):")
_SECRET_WORD = re.compile(
    r"(?:pass|pwd|secret|token)[\w%]{0,40}\s{0,9}=\s{0,9}(?:'((?:[^'\\]|\\.)*)'|([^\s&]+))", re.I
)
_PLAIN_KEYS = {"mode", "uri", "cache", "immutable", "timeout", "host", "hostaddr", "port"} | {
    *("user", "dbname", "sslmode", "connect_timeout", "application_name", "target_session_attrs")
}
_ASCII = str.maketrans(
    {
        **{"±": "+-", "×": "x", "≥": ">=", "≤": "<=", "…": "...", "→": "->", "·": ".", "•": "*"},
        **{"–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "µ": "u", "−": "-"},
        **dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True)),
        **dict.fromkeys("─━╸╺╴╶═", "-"),
        **dict.fromkeys("│┃║", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰┏┓┗┛┡┩╇╪╞╡", "+"),
    }
)


def visible(text: str, *, one_line: bool = False) -> str:
    r"""Return the text with control characters as ``\x1b``, ``\u202e``.

    Args:
        text: Any text.
        one_line: Show tabs and ends of lines like that as well.
    """
    return (_CONTROL_OR_BREAK if one_line else _CONTROL).sub(_code_of, text)


def cut(text: str) -> str:
    """Return the text with the middle of every endless word and line left out."""
    words = re.sub(
        rf"\S{{{_LONGEST_WORD + 1},}}", lambda m: _middle_out(m[0], _LONGEST_WORD, _WORD_TAIL), text
    )
    return "\n".join(_middle_out(line, _LONGEST_LINE, _LINE_TAIL) for line in words.split("\n"))


def sentence(text: str) -> str:
    """Return a clause as a sentence, which ends with one mark."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def listed_names(names: Iterable[str], most: int = 8) -> str:
    """Return the first of some names, and the number of the others."""
    found = list(names)
    others = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + others


def in_short(record: object, holds: str, rows: str) -> str:
    """Return the one line that stands for a large record in a notebook or a debugger.

    Args:
        record: The record.
        holds: Its content in a few words.
        rows: The rows of the table that its `frame()` makes.
    """
    return f"<{type(record).__name__}: {holds}; .frame() has {rows}>"


def show_address(address: str) -> str:
    """Return the address of a store, or what was given for one, without passwords.

    Args:
        address: A path, a database URL, or any text; a malformed one hides its secrets too.
    """
    shown, end = "", 0
    for start, stop in sorted(_secret_places(address)):
        if start >= end:
            shown += address[end:start] + _HIDDEN
        end = max(end, stop)
    return shown + address[end:]


def is_address(text: str) -> bool:
    """Whether a text, or a path made of one, is an address with a scheme, as of a database."""
    return "://" in text or _SCHEME_OF_PATH.match(text) is not None


def hide_secrets(text: str, address: str) -> str:
    """Return a text, as a driver's message, without the secrets of a store's address."""
    found = [address[start:stop] for start, stop in _secret_places(address)]
    found += [part for secret in found for part in secret.split("@")]  # as a driver may read it
    found += [form(secret) for form in (unquote, unquote_plus) for secret in found]
    for secret in sorted({secret for secret in found if secret.strip()}, key=len, reverse=True):
        bounds = (r"(?<!\w)", r"(?!\w)") if len(secret) < 4 else ("", "")
        text = re.sub(re.escape(secret).join(bounds), _HIDDEN, text)
    return text


def hide_passwords(text: str) -> str:
    """Return a text of others without the passwords of the URLs in it."""
    return _PASSWORD_OF_URL.sub(rf"\1{_HIDDEN}@", text)


def use_plain_characters() -> None:
    """Make `PLAIN_CHARACTERS` known as the way to write what a terminal cannot show."""
    codecs.register_error(PLAIN_CHARACTERS, _write_plainly)


PLAIN_CHARACTERS = "antifragile-plain"
"""Name of the error handler for streams that are not UTF-8: ``±`` becomes ``+-``."""


def _write_plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    there = error.object[error.start : error.end].translate(_ASCII)
    return "".join(c if c.isascii() else _code_of(c) for c in there), error.end


def _code_of(character: str | re.Match[str]) -> str:
    code = ord(character if isinstance(character, str) else character[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it
        code -= 0xDC00
    named = {9: r"\t", 10: r"\n", 13: r"\r"}
    width = 2 if code < 0x100 else 4 if code < 0x10000 else 8
    return named.get(code, f"\\{'_xu_U'[width // 2]}{code:0{width}x}")


def _middle_out(text: str, most: int, tail: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most - tail - 5]} ... {text[-tail:]}"


def _secret_places(address: str) -> list[tuple[int, int]]:
    """Where secrets stand in an address, or may stand; a metric with no URL in it has none."""
    if _METRIC.match(address) and "://" not in address:
        return []
    places = [*_in_user_and_host(address), *_in_query(address)]
    for found in _SECRET_WORD.finditer(address):
        places.append(found.span(1 if found[1] is not None else 2))
    return [(start, stop) for start, stop in places if start < stop]


def _in_user_and_host(address: str) -> list[tuple[int, int]]:
    """The password before the host; where there is no host, a port that is no number."""
    scheme = _SCHEME.match(address)
    begin, at = scheme.end() if scheme else 0, address.rfind("@")
    if at >= begin:
        colon = address.find(":", begin, at)
        return [] if colon < 0 else [(colon + 1, at)]
    if scheme is None or "//" not in scheme[0] or scheme[0].strip().startswith("sqlite"):
        return []
    host = re.compile(r"[^/?#]*").match(address, begin)
    assert host is not None
    colon = address.find(":", begin, host.end())
    is_port = colon < 0 or address[colon + 1 : host.end()].isdigit()
    return [] if is_port else [(colon + 1, host.end())]


def _in_query(address: str) -> list[tuple[int, int]]:
    """The values after the question mark, but of those keys that are known to be no secret."""
    begin = address.rfind("?") + 1
    if not begin:
        return []
    pairs = re.compile("([^&;=]*)=([^&;]*)").finditer(address, begin)
    return [pair.span(2) for pair in pairs if unquote(pair[1]).strip() not in _PLAIN_KEYS]


def show_path(path: Path) -> str:
    """A path relative to the current folder if it lies below, so that a manifest can travel."""
    here, there = Path.cwd().resolve(), path.resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) else str(there)
