"""All forms of inputs are read in one place; copies are deep, errors say what is accepted."""

from __future__ import annotations

from collections import UserDict, namedtuple
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from antifragile.ablate.sandbox.loading import Refusal
from antifragile.ablate.trace.calls import Call, read_call

X, MASK = torch.ones(2, 3), torch.zeros(2)
Pair = namedtuple("Pair", "left right")


@dataclass
class Batch:
    x: Any


def read(found: object, *, dict_is_one_input: bool = False) -> Call:
    return read_call(found, "inputs() of m.py", dict_is_one_input=dict_is_one_input)


PACKED, BATCH, PAIR = pack_sequence([X[0]]), Batch(X), Pair(X, MASK)
FORMS: dict[str, tuple[Any, list[Any], dict[str, Any]]] = {
    "a tensor": (X, [X], {}),
    "a tuple": ((X, None), [X, None], {}),
    "a list": ([X, MASK], [X, MASK], {}),
    "no inputs": ((), [], {}),
    "keywords": ({"x": X}, [], {"x": X}),
    "another mapping": (UserDict(x=X), [], {"x": X}),
    "args and kwargs": (((X,), {"mask": MASK}), [X], {"mask": MASK}),
    "args without kwargs": (([X],), [[X]], {}),
    "two inputs": ((X, {"mask": MASK}), [X, {"mask": MASK}], {}),
    "a list of two": ([[X], {"mask": MASK}], [[X], {"mask": MASK}], {}),
    "a dictionary in a tuple": (({"a": X},), [{"a": X}], {}),
    "a data class": (BATCH, [BATCH], {}),
    "a named tuple": (PAIR, [PAIR], {}),
    "packed sequences": (PACKED, [PACKED], {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_one_call(form: str) -> None:
    found, args, kwargs = FORMS[form]
    call = read(found)
    assert [id(item) for item in call.args] == [id(item) for item in args] or call.args == (*args,)
    assert list(call.kwargs) == list(kwargs)
    assert all(call.kwargs[name] is value for name, value in kwargs.items())


def test_a_framework_may_take_a_dictionary_as_one_input() -> None:
    found = {"a": X}
    assert read(found, dict_is_one_input=True).args == (found,)
    assert read(((X,), {"mask": MASK}), dict_is_one_input=True).kwargs == {"mask": MASK}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "got None"),
        ("text", "got a str"),
        (3, "got a int"),
        ({X}, "got a set"),
        (torch.nn.Linear(1, 1), "got a Linear"),
        ((x for x in [X]), "got a generator"),
        ({0: X}, "got a dictionary with the key 0"),
    ],
)
def test_all_else_is_refused_in_a_sentence(found: object, words: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read(found)
    start = "inputs() of m.py must return a tensor, a tuple of inputs, a dictionary of keywords, or"
    assert str(refusal.value).startswith(start)
    assert words in str(refusal.value)


def test_inputs_have_names() -> None:
    assert list(Call(args=(X, None), kwargs={"mask": MASK}).named) == ["0", "1", "mask"]


def test_copies_are_deep_and_keep_what_is_shared() -> None:
    lock = Lock()
    call = Call(args=([X, {"a": X}], Batch(X), lock), kwargs={"mask": MASK})
    copied = call.changed(torch.is_tensor, torch.Tensor.clone)
    listed, batch, same = copied.args
    assert same is lock
    assert listed[0] is listed[1]["a"] is batch.x
    assert listed[0] is not X
    batch.x.fill_(9.0)
    copied.kwargs["mask"].fill_(9.0)
    assert X.eq(1).all()
    assert MASK.eq(0).all()


def test_a_model_that_yields_runs_to_its_end() -> None:
    def model(x: torch.Tensor) -> Any:
        yield x
        yield x + 1

    first, second = Call(args=(X,)).output_of(model)
    assert first is X
    assert second.eq(2).all()
