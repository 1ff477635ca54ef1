"""Text of others: control characters are seen, endless words cut, secrets of addresses hidden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile._shown import (
    PLAIN_CHARACTERS,
    cut,
    hide_secrets,
    show_address,
    use_plain_characters,
    visible,
)

SECRET = "s3cr3t"
MALFORMED = [
    "postgresql://user:s3cr3t@host:port/name",
    "postgresql://user:s3cr3t@host:99999999/name",
    "postgres://user:s3cr3t@127.0.0.1:9/name",
    "mysql://user:s3cr3t@127.0.0.1:9/name",
    "postgresql:/user:s3cr3t@127.0.0.1:9/name",
    "postgresql//user:s3cr3t@127.0.0.1:9/name",
    "postgresql:user:s3cr3t@127.0.0.1:9/name",
    "//user:s3cr3t@127.0.0.1:9/name",
    "user:s3cr3t@127.0.0.1:9/name",
    "postgresql://user:s3cr3t@127.0.0.1:9",
    "postgresql://user:s3cr3t",
    "postgresql://user:s3cr3t/name",
    "postgresql://:s3cr3t@127.0.0.1:9/name",
    "postgresql://user:s3cr3t@",
    "postgresql://[user:s3cr3t@127.0.0.1:9/name",
    "postgresql://user:s3cr3t@[::1/name",
    "postgresql://user:a@s3cr3t@127.0.0.1:9/name",
    "postgresql://user:a/s3cr3t?b#c@127.0.0.1:9/name",
    "POSTGRESQL://user:s3cr3t@127.0.0.1:9/name",
    " postgresql://user:s3cr3t@127.0.0.1:9/name",
    "postgresql+psycopg://user:s3cr3t@127.0.0.1:9/name",
    "postgresql+nothing://user:s3cr3t@127.0.0.1:9/name",
    "sqlite://user:s3cr3t@127.0.0.1:9/runs.db",
    "sqlite:///user:s3cr3t@127.0.0.1:9/runs.db",
    "postgresql://127.0.0.1:9/name?password=s3cr3t",
    "postgresql://127.0.0.1:9/name?user=u&password=s3cr3t&sslmode=require",
    "postgresql://host:port/name?password=s3cr3t",
    "postgresql://user@127.0.0.1:9/name?sslpassword=s3cr3t&x=1",
    "postgresql://user@127.0.0.1:9/name?pass%77ord=s3cr3t",
    "postgresql://user@127.0.0.1:9/name?passfile=s3cr3t",
    "host=localhost user=u password=s3cr3t dbname=d",
    "host=localhost password = 's3cr3t and more'",
    "jdbc:postgresql://127.0.0.1:9/name?user=u&password=s3cr3t",
    "mlflow:postgresql://user:s3cr3t@127.0.0.1:9/name:val_loss@min",
]


@pytest.mark.parametrize("address", MALFORMED)
def test_no_secret_of_an_address_is_shown(address: str) -> None:
    shown = show_address(address)
    assert "***" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "address",
    [
        *("runs.db", "./a b.db", "/data/a:b/c.db", "C:/data/runs.db", "sqlite:///x.db?mode=ro"),
        *("postgresql://user@host:5432/name", "postgresql:///name?host=/tmp&sslmode=require"),
        *("csv:{out}/log.csv:val_mae@min", "--metric=json:{out}/m.json:loss@max"),
        "regex:loss(?:es)? token=([0-9.]+)@min",
    ],
)
def test_an_address_without_secrets_is_shown_as_it_is(address: str) -> None:
    assert show_address(address) == address


def test_only_the_secret_is_hidden() -> None:
    address = "postgresql://postgres:postgres@host:5432/postgres?sslpassword=x&sslmode=require"
    hidden = "postgresql://postgres:***@host:5432/postgres?sslpassword=***&sslmode=require"
    assert show_address(address) == hidden


def test_messages_of_drivers_lose_the_secret_also_when_they_decode_it() -> None:
    address = "postgresql://user:s3%40cr3t@host/name?password=a+b%20c"
    said = 'password "s3@cr3t" or "s3%40cr3t", then "a b c"'
    assert hide_secrets(said, address) == 'password "***" or "***", then "***"'
    assert hide_secrets("failed: at a", "postgresql://u:a@h/n") == "failed: at ***"


@given(st.text())
def test_what_is_visible_steers_nothing(text: str) -> None:
    shown = visible(text, one_line=True)
    assert shown.encode().decode() == shown
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert visible(shown, one_line=True) == shown
    if text.isprintable():
        assert shown == text


def test_control_characters_are_named() -> None:
    assert visible("a\x1b[31m\x00\x9b\u202eb\r\t\n") == r"a\x1b[31m\x00\x9b\u202eb\r" + "\t\n"
    assert visible("a\r\t\n\udcff\ud800", one_line=True) == r"a\r\t\n\xff\ud800"


def test_endless_words_and_lines_are_cut_in_the_middle() -> None:
    word = "a" * 5000 + "end"
    assert len(cut(word)) == 300
    assert cut(word).endswith("aend")
    assert cut(f"see '{word}'; do this.").endswith("aend'; do this.")
    assert len(cut("word " * 2000)) == 2000
    lines = "\n".join(["a line of a list"] * 500)
    assert cut(lines) == lines


def test_a_terminal_without_these_characters_gets_plain_ones() -> None:
    use_plain_characters()
    said = "90.1 ± 0.2 ×2 ▁▄█ ─│╭ é\udcff"
    assert said.encode("ascii", errors=PLAIN_CHARACTERS) == b"90.1 +- 0.2 x2 _:# -|+ \\xe9\\xff"
    assert "±é".encode("latin-1", errors=PLAIN_CHARACTERS) == b"\xb1\xe9"
