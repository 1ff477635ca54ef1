"""Perturbed copies beside clean weights that stay where they are, and when that cannot be done."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile.errors import UsageError
from antifragile.optim import Gaussian, Handle, Rule, perturb
from antifragile.optim.attach import own_weights
from antifragile.optim.attach.clean_weights import checksums
from antifragile.optim.noise.kernel import (
    add_native,
    checksums_native,
    load_noise_kernel,
    run_native,
)
from antifragile.optim.noise.streams import Stream, normal_levels
from tests.optim.small_training import batch, network

compiled = pytest.mark.skipif(load_noise_kernel() is None, reason="the noise kernel was not built")


def perturbed(model: nn.Module) -> tuple[torch.optim.Optimizer, Handle]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return optimizer, perturb(optimizer, Rule("weight", Gaussian(), 0.1), seed=0, model=model)


def loss_of(model: nn.Module, number: int = 0) -> Tensor:
    x, y = batch(number)
    return cross_entropy(model(x), y)


def addresses(model: nn.Module) -> list[int]:
    return [p.data_ptr() for p in model.parameters()]


def test_clean_weights_stay_where_they_are() -> None:
    model = network()
    aliases = [p.data for p in model.parameters()]
    before = [alias.clone() for alias in aliases]
    optimizer, _ = perturbed(model)
    loss_of(model).backward()
    assert all(torch.equal(a, b) for a, b in zip(aliases, before, strict=True))
    assert not set(addresses(model)) & {a.data_ptr() for a in aliases}, "the model has copies"
    optimizer.step()
    assert addresses(model) == [a.data_ptr() for a in aliases]
    assert all(torch.equal(a, p) for a, p in zip(aliases, model.parameters(), strict=True))
    assert not torch.equal(aliases[0], before[0]), "the step went to them"


def test_a_write_to_the_clean_weights_is_kept() -> None:
    model = network()
    alias = next(model.parameters()).data
    optimizer, _ = perturbed(model)
    loss_of(model)
    alias.fill_(0.5)
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(next(model.parameters()), torch.full_like(alias, 0.5))


def flat(model: nn.Module) -> Tensor:
    """Make the parameters views of one tensor, as sharded optimizers do."""
    parameters = list(model.parameters())
    whole = torch.cat([p.detach().flatten() for p in parameters])
    parts = torch.split(whole, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.data = part.view_as(parameter)
    return whole


def tied(model: nn.Module) -> Tensor:
    """Let a buffer share a parameter's memory."""
    first = next(model.parameters())
    model.register_buffer("tied", first.data)
    return first.data


@pytest.mark.parametrize("share", [flat, tied])
def test_memory_that_others_share_is_perturbed_in_place(
    share: Callable[[nn.Module], Tensor],
) -> None:
    model = network()
    shared = share(model)
    clean, where = shared.clone(), addresses(model)
    _, handle = perturbed(model)
    loss_of(model)
    assert not torch.equal(shared, clean)
    assert addresses(model) == where
    handle.remove()
    assert torch.equal(shared, clean)
    assert addresses(model) == where


@pytest.mark.parametrize("accepts", [False, True])
@pytest.mark.parametrize("replaces", [False, True])
def test_what_is_written_to_a_perturbed_copy_is_refused_or_kept(
    accepts: bool, replaces: bool
) -> None:
    model = network()
    first, second = list(model.parameters())[:2]
    own, clean = first.data, second.detach().clone()
    optimizer, handle = perturbed(model)
    loss_of(model).backward()
    if replaces:
        first.data = torch.ones_like(first)
    else:
        first.data.fill_(1.0)
    if not accepts:
        with pytest.raises(UsageError, match=r"1 parameters \(0.weight\) were written while a"):
            optimizer.step()
    handle.remove()
    assert torch.equal(first, torch.ones_like(first))
    assert (first.data_ptr() == own.data_ptr()) != replaces
    assert torch.equal(second, clean)


def test_a_gradient_that_needs_the_perturbed_weights_is_refused_without_them() -> None:
    model = network()
    perturbed(model)
    loss = loss_of(model)
    model.eval()
    loss_of(model)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    "backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_compiled_code_reads_the_weights_of_the_moment(backend: str) -> None:
    found = []
    for compiles in (False, True):
        torch._dynamo.reset()
        model = network()
        called = torch.compile(model, backend=backend) if compiles else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        perturb(optimizer, Rule("weight", Gaussian(), 0.1), seed=0, model=called)
        losses = []
        for number in range(4):
            called.train(number != 2)
            loss = loss_of(called, number)
            if number != 2:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.detach())
        found.append(torch.stack(losses))
    assert torch.allclose(*found, rtol=1e-5, atol=0)


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "float32": lambda: torch.rand(70, 31, 3, 3),
    "float64": lambda: torch.rand(70, 31, 3, 3, dtype=torch.float64),
    "bfloat16": lambda: torch.rand(70, 31, 3, 3).bfloat16(),
    "float16": lambda: torch.rand(70, 31, 3, 3).half(),
    "channels last": lambda: torch.rand(70, 31, 3, 3).to(memory_format=torch.channels_last),
    "transposed": lambda: torch.rand(1000, 17).T,
    "with gaps": lambda: torch.rand(100, 34)[:, ::2],
    "a scalar": lambda: torch.rand(()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bit", [0, 9, 15])
def test_one_bit_changes_a_checksum(layout: str, bit: int) -> None:
    tensor = LAYOUTS[layout]()
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    before = checksums([tensor])
    for place in {0, tensor.numel() // 3, tensor.numel() - 1}:
        element = tensor[tuple(torch.unravel_index(torch.tensor(place), tensor.shape))]
        kept = element.clone()
        flipped = element.clone().view(integers) ^ (1 << bit if bit < 15 else -(1 << 15))
        element.copy_(flipped.view(tensor.dtype))
        assert not torch.equal(checksums([tensor]), before), place
        element.copy_(kept)
        assert torch.equal(checksums([tensor]), before)


@pytest.mark.parametrize("layout", ["float32", "float64", "bfloat16", "channels last"])
def test_a_checksum_sees_signs_and_places(layout: str) -> None:
    tensor = LAYOUTS[layout]()
    before = checksums([tensor])
    for changed in (-tensor, tensor.flip(0), tensor.roll(1, 0), tensor.roll(64, 1)):
        assert not torch.equal(checksums([changed.clone()]), before)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n", [1, 63, 2048, 2049, 5000, 700_001])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_checksum_of_a_copy_is_that_of_a_pass_of_its_own(
    n: int, dtype: torch.dtype, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    sources = [torch.rand(n, dtype=dtype), torch.rand(5, dtype=dtype)]
    sources.append(torch.rand(n // 9 + 1, 5, 3, 3).to(dtype, memory_format=torch.channels_last))
    stream = Stream(keys=(1,), step=2, rule=3)
    for table in (None, normal_levels()):
        made = [torch.empty_like(s) for s in sources]
        found = run_native(stream, table, [0, 1, 2], made, [0.1, 0.2, 0.3], sources=sources)
        assert found is not None
        assert torch.equal(found, checksums_native(made))
    found = add_native(stream, sources, [0.5], made, [0.1, 0.2, 0.3], sources=sources)
    assert found is not None
    assert torch.equal(found, checksums_native(made))
    torch.set_num_threads(before)


@pytest.mark.parametrize("reads", [False, True])
def test_a_view_taken_while_perturbed_stays_one_of_the_parameter(reads: bool) -> None:
    model = network()
    optimizer, _ = perturbed(model)
    views: list[Tensor] = []
    for number in range(3):
        optimizer.zero_grad()
        loss_of(model, number).backward()
        if not views:
            views = [p.data for p in model.parameters()]
        optimizer.step()
        if reads:
            pairs = zip(views, model.parameters(), strict=True)
            assert all(torch.equal(view, p) for view, p in pairs)
        for view in views:
            view.clamp_(-0.01, 0.01)
    assert max(float(p.detach().abs().max()) for p in model.parameters()) <= 0.01


def transposed(w: Tensor) -> Tensor:
    return w.detach().t()


def of_an_array(w: Tensor) -> Tensor:
    """Make an array the parameter's memory; return a second tensor in the same array."""
    array = w.detach().numpy().copy()
    w.data = torch.from_numpy(array)
    return torch.from_numpy(array).t()


@pytest.mark.parametrize("keep", [transposed, of_an_array])
def test_a_view_that_a_module_keeps_is_perturbed_with_its_parameter(
    keep: Callable[[Tensor], Tensor],
) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 8))
            self.kept = [[{"deep": keep(self.w)}]]

        def forward(self, x: Tensor) -> Tensor:
            kept = self.kept[0][0]["deep"]
            self.are_alike = torch.equal(kept.t(), self.w)
            return x @ kept

    model = Tied()
    perturbed(model)
    assert not torch.equal(model(batch(0)[0]), batch(0)[0] @ torch.ones(8, 3))
    assert model.are_alike


@pytest.mark.parametrize("has_alias", [False, True])
def test_what_modules_keep_is_looked_through_only_if_somebody_has_a_weights_memory(
    has_alias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(own_weights, "tree_leaves", lambda kept: looks.append(kept) or [])
    model = network()
    alias = model[3].bias.detach() if has_alias else None
    where = addresses(model)
    perturbed(model)
    loss_of(model)
    assert not set(addresses(model)) & set(where), "the model has copies"
    assert bool(looks) is has_alias, alias


def sent(model: nn.Module) -> bytes:
    """Share a model's parameters with another process; they can be opened once."""
    return bytes(ForkingPickler.dumps(list(model.parameters())))


def are_those_of(tensors: list[Tensor], model: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors, model.parameters(), strict=True))


@pytest.mark.parametrize("moment", ["before", "inside", "between"])
def test_what_another_process_was_sent_stays_the_clean_weights(moment: str) -> None:
    model = network()
    optimizer, _ = perturbed(model)
    if moment != "before":
        loss_of(model).backward()
    if moment == "between":
        optimizer.step()
    message = sent(model)
    if moment != "inside":
        loss_of(model).backward()
    optimizer.step()
    optimizer.zero_grad()
    loss_of(model).backward()
    received = pickle.loads(message)
    assert not are_those_of(received, model), "this process alone sees the perturbation"
    optimizer.step()
    assert are_those_of(received, model)


def test_sharing_while_perturbed_lasts() -> None:
    model = network()
    optimizer, _ = perturbed(model)
    loss_of(model).backward()
    model.share_memory()
    for number in range(2):
        optimizer.step()
        assert all(p.is_shared() for p in model.parameters())
        loss_of(model, number).backward()


def test_weights_that_two_memories_would_have_to_follow_are_refused() -> None:
    model = network()
    model.share_memory()
    optimizer, handle = perturbed(model)
    loss_of(model).backward()
    message = sent(model)
    with pytest.raises(
        UsageError, match=r"6 parameters .* were shared with another .* inside hand"
    ):
        optimizer.step()
    with handle.clean():
        assert are_those_of(pickle.loads(message), model)
    loss_of(model).backward()
    optimizer.step()
    assert all(p.is_shared() for p in model.parameters())


def test_two_parameters_in_the_same_memory_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight.data = model[0].weight.data
    with pytest.raises(UsageError, match=r"0.weight and 1.weight are two parameters in the same"):
        perturbed(model)


def test_a_step_in_inference_mode_leaves_weights_that_can_be_trained() -> None:
    model = network()
    optimizer, _ = perturbed(model)
    with torch.inference_mode():
        model(batch(0)[0])
    loss_of(model).backward()
    optimizer.step()
