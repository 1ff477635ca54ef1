"""Clean weights are the truth, whoever writes, copies, saves or steps the parameters between."""

from __future__ import annotations

import copy
import io
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from antifragile.errors import UsageError
from antifragile.optim import PRESETS, Gaussian, Handle, Rule, perturb, presets
from tests.optim.small_training import BASES, NEEDS_CLOSURE, batch, network, rules_of, take_steps

NOISE = Rule("weight", Gaussian(), 0.1)
WRITES: dict[str, Callable[[nn.Module], object]] = {
    "clip": lambda m: [p.data.clamp_(-0.01, 0.01) for p in m.parameters()],
    "one row": lambda m: m[0].weight.data[3].zero_(),  # type: ignore[index,union-attr]
    "two rows exchanged": lambda m: m[0].weight.data.copy_(  # type: ignore[index,union-attr]
        m[0].weight.data.flip(0)  # type: ignore[index,union-attr]
    ),
    "a vector": lambda m: vector_to_parameters(
        0.5 * parameters_to_vector(m.parameters()), m.parameters()
    ),
    "in place": lambda m: torch._foreach_mul_([p.detach() for p in m.parameters()], 0.5),
}
every_write = pytest.mark.parametrize("write", list(WRITES.values()), ids=list(WRITES))


def vector(model: nn.Module) -> Tensor:
    return parameters_to_vector(model.parameters()).detach().clone()


def stepped(model: nn.Module, *, knows_model: bool = True) -> tuple[torch.optim.Optimizer, Handle]:
    """Attach the noise to an optimizer that moves nothing, and take a step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    handle = perturb(optimizer, NOISE, model=model if knows_model else None)
    take_steps(model, optimizer, [0])
    return optimizer, handle


@every_write
def test_a_write_between_steps_is_kept_where_the_model_is_known(
    write: Callable[[nn.Module], object],
) -> None:
    model = network()
    optimizer, _ = stepped(model)
    write(model)
    written = vector(model)
    take_steps(model, optimizer, [1])
    assert torch.equal(vector(model), written)


@every_write
@pytest.mark.parametrize("knows_model", [True, False])
def test_a_write_under_a_perturbation_is_refused_and_not_lost(
    write: Callable[[nn.Module], object], knows_model: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = network()
    optimizer, handle = stepped(model, knows_model=knows_model)
    model(batch(1)[0]).sum().backward()
    write(model)
    written = vector(model)
    with pytest.raises(UsageError, match=r"written while a perturbation was in"):
        optimizer.step()
    with caplog.at_level(logging.WARNING):
        handle.remove()
    assert "written while a perturbation was in; their present values are kept" in caplog.text
    changed = vector(model) == written
    assert changed.any()
    optimizer.step()


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("rule", [NOISE, presets.sam()])
def test_an_embedding_that_writes_its_own_weight_is_refused_where_that_is_perturbed(
    kind: Any, rule: Any
) -> None:
    model = nn.ModuleDict({"words": kind(5, 3, max_norm=0.5), "head": nn.Linear(3, 2)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(
        UsageError, match=r"'words' has max_norm=0.5 and writes .*by params=, or dr"
    ):
        perturb(optimizer, rule, model=model)
    perturb(optimizer, Rule("grad", Gaussian(), 0.1), model=model).remove()
    perturb(optimizer, Rule("weight", Gaussian(), 0.1, params="^head"), model=model).remove()
    perturb(optimizer, NOISE)


def test_an_embedding_that_writes_its_own_weight_is_refused_at_the_step_without_the_model() -> None:
    words = nn.Embedding(5, 3, max_norm=0.5)
    optimizer = torch.optim.SGD(words.parameters(), lr=0.1)
    perturb(optimizer, NOISE)
    words(torch.arange(5)).sum().backward()
    with pytest.raises(UsageError, match=r"1 parameters \(number 0\) were written while a perturb"):
        optimizer.step()


def test_weights_that_are_swapped_for_a_validation_come_back() -> None:
    model = network()
    _, handle = stepped(model)
    clean, average = vector(model), 0.5 * vector(model)
    kept = [p.data.clone() for p in model.parameters()]
    vector_to_parameters(average, model.parameters())
    model.eval()
    model(batch(0)[0])
    assert torch.equal(vector(model), average)
    for parameter, value in zip(model.parameters(), kept, strict=True):
        parameter.data.copy_(value)
    with handle.clean():
        assert torch.equal(vector(model), clean)


@pytest.mark.parametrize("knows_model", [True, False])
def test_what_is_removed_never_perturbs_again(knows_model: bool) -> None:
    model = network()
    optimizer, handle = stepped(model, knows_model=knows_model)
    with handle.clean():
        clean = vector(model)
        handle.detach()
    handle.remove()
    with handle.clean():
        assert torch.equal(vector(model), clean)
    take_steps(model, optimizer, [1])
    assert torch.equal(vector(model), clean)


def test_a_second_optimizer_gets_clean_weights_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = network()
    _, handle = stepped(model)
    clean = vector(model)
    second = torch.optim.SGD(model.parameters(), lr=0.0)
    with caplog.at_level(logging.WARNING):
        take_steps(model, second, [1, 2])
    assert caplog.text.count("gets their clean weights") == 1
    assert torch.equal(vector(model), clean)
    model.state_dict()
    handle.remove()
    assert torch.equal(vector(model), clean)


def test_parameters_have_one_owner() -> None:
    model = network()
    _, handle = stepped(model)
    second = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"perturbed through another optimizer \(SGD\); call remo"):
        perturb(second, NOISE, model=model)
    handle.remove()
    perturb(second, NOISE, model=model)


def pickled(model: nn.Module) -> nn.Module:
    copied: nn.Module = pickle.loads(pickle.dumps(model))
    return copied


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copied: nn.Module = torch.load(file, weights_only=False)
    return copied


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
@pytest.mark.parametrize("knows_model", [True, False])
def test_copies_are_clean_at_any_moment(
    copied: Callable[[nn.Module], nn.Module], knows_model: bool
) -> None:
    model = network()
    clean = vector(model)
    optimizer, _ = stepped(model, knows_model=knows_model)
    model[0].weight.tag = "kept"  # type: ignore[index,union-attr]
    for moment in ("between", "inside"):
        if moment == "inside":
            model(batch(1)[0]).sum().backward()
        whole, part = copied(model), copied(model[0])  # type: ignore[index]
        assert torch.equal(vector(whole), clean)
        assert torch.equal(vector(part), clean[: 16 * 9])
        vector_to_parameters(torch.zeros_like(clean), whole.parameters())
        whole(batch(0)[0])
        assert not vector(whole).any()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.0
    model.eval()
    model(batch(0)[0])
    if knows_model:
        assert torch.equal(vector(model), clean)


def test_exchanged_parameters_are_followed() -> None:
    model = network()
    groups = [{"params": list(model[0].parameters())}, {"params": list(model[3].parameters())}]
    optimizer = torch.optim.SGD(groups, lr=0.0)
    perturb(optimizer, presets.shrink_and_perturb(every=1), NOISE, model=model)
    take_steps(model, optimizer, [0])
    old = model[3]
    model[3] = nn.Linear(16, 3)
    optimizer.param_groups[1]["params"] = list(model[3].parameters())
    before, left = vector(model[3]), vector(old)
    take_steps(model, optimizer, [1])
    assert not torch.equal(vector(model[3]), before)
    assert torch.equal(vector(old), left)
    model(batch(0)[0])
    copied = vector(copy.deepcopy(model[3]))
    model.eval()
    model(batch(0)[0])
    assert torch.equal(copied, vector(model[3]))


def test_a_group_that_was_just_added_is_saved() -> None:
    first = network()
    optimizer = torch.optim.SGD(first[0].parameters(), lr=0.1)
    perturb(optimizer, NOISE, model=first)
    take_steps(first, optimizer, [0])
    optimizer.add_param_group({"params": list(first[3].parameters())})
    state = copy.deepcopy(optimizer.state_dict())
    second = network()
    groups = [{"params": list(second[0].parameters())}, {"params": list(second[3].parameters())}]
    other = torch.optim.SGD(groups, lr=0.1)
    perturb(other, NOISE, model=second)
    other.load_state_dict(state)


def make(rules: object) -> tuple[nn.Module, torch.optim.Optimizer, Handle]:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return model, optimizer, perturb(optimizer, rules, seed=0, model=model)  # type: ignore[arg-type]


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_distributed_checkpoint_continues_exactly(name: str, flatten: bool) -> None:
    options = StateDictOptions(flatten_optimizer_state_dict=flatten)
    closure = name in NEEDS_CLOSURE
    model, optimizer, _ = make(rules_of(name))
    get_state_dict(model, optimizer, options=options)  # before the first step
    take_steps(model, optimizer, range(3), closure=closure)
    saved_model, saved_optimizer = copy.deepcopy(get_state_dict(model, optimizer, options=options))
    take_steps(model, optimizer, range(3, 5), closure=closure)
    again, second, handle = make(rules_of(name))
    set_state_dict(
        again,
        second,
        model_state_dict=saved_model,
        optim_state_dict=saved_optimizer,
        options=options,
    )
    assert handle.step_number == 3
    take_steps(again, second, range(3, 5), closure=closure)
    assert torch.equal(vector(model), vector(again))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("base", ["sgd", "sgd-momentum", "adamw"])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_distributed_checkpoint_on_disk_continues_exactly(
    name: str, base: str, flatten: bool, tmp_path: Path
) -> None:
    """It is loaded into the state of fresh objects, which fills only what is there."""
    options = StateDictOptions(flatten_optimizer_state_dict=flatten)
    closure = name in NEEDS_CLOSURE

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = network()
        optimizer = BASES[base](model.parameters())
        perturb(optimizer, rules_of(name), seed=0, model=model)
        return model, optimizer

    def collect(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        state = get_state_dict(model, optimizer, options=options)
        return dict(zip(("model", "optimizer"), state, strict=True))

    model, optimizer = fresh()
    take_steps(model, optimizer, range(3), closure=closure)
    checkpoint.save(collect(model, optimizer), checkpoint_id=tmp_path)
    take_steps(model, optimizer, range(3, 5), closure=closure)
    again, second = fresh()
    state = collect(again, second)
    checkpoint.load(state, checkpoint_id=tmp_path)
    set_state_dict(
        again,
        second,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=options,
    )
    take_steps(again, second, range(3, 5), closure=closure)
    assert torch.equal(vector(model), vector(again))


def test_the_step_that_makes_an_optimizers_state_is_none_of_ours() -> None:
    model, optimizer, handle = make(presets.pgd())
    before = vector(model)
    get_optimizer_state_dict(model, optimizer)
    assert torch.equal(vector(model), before)
    assert handle.step_number == 0


def test_a_flattened_state_of_an_unperturbed_run_is_not_taken_for_ours() -> None:
    plain = network()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01)
    take_steps(plain, optimizer, [0])
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    state = get_optimizer_state_dict(plain, optimizer, options=options)
    model, other, _ = make(NOISE)
    with pytest.raises(KeyError, match="antifragile"):
        set_optimizer_state_dict(model, other, state, options=options)


ACTIONS = ("step", "forward", "eval", "save", "load", "clean", "write", "copy", "remove")


@settings(max_examples=60, deadline=None)
@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=14),
    name=st.sampled_from(["anti_pgd", "random_weight_perturbation", "sam_lagged", "msam"]),
)
def test_clean_weights_are_those_of_an_unperturbed_twin(actions: list[str], name: str) -> None:
    """Gradients are given, so that a twin without a rule has the same weights at all times."""
    model, twin = network(), network()
    optimizer, plain = (torch.optim.AdamW(m.parameters(), lr=0.01) for m in (model, twin))
    handle = perturb(optimizer, rules_of(name), model=model)
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict(), plain.state_dict()))
    for number, action in enumerate(actions):
        model.train()
        if action in ("step", "forward"):
            model(batch(0)[0])
            twin(batch(0)[0])
        if action == "step":
            for m, o in ((model, optimizer), (twin, plain)):
                generator = torch.Generator().manual_seed(number)
                for p in m.parameters():
                    p.grad = torch.randn(p.shape, generator=generator)
                o.step()
        elif action == "eval":
            model.eval()
            model(batch(0)[0])
            assert torch.equal(vector(model), vector(twin))
        elif action == "save":
            kept = copy.deepcopy((model.state_dict(), optimizer.state_dict(), plain.state_dict()))
        elif action == "load":
            for state, part in zip(kept, (model, optimizer, plain), strict=True):
                part.load_state_dict(copy.deepcopy(state))  # type: ignore[arg-type]
            twin.load_state_dict(copy.deepcopy(kept[0]))
        elif action == "clean":
            with handle.clean():
                assert torch.equal(vector(model), vector(twin))
        elif action == "write":
            with handle.clean():
                model[0].weight.data[1].mul_(0.5)
            twin[0].weight.data[1].mul_(0.5)
        elif action == "copy":
            assert torch.equal(vector(copy.deepcopy(model)), vector(twin))
        elif action == "remove":
            handle.remove()
    with handle.clean():
        assert torch.equal(vector(model), vector(twin))
