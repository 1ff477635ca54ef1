"""Noise on token ids: added to what their embedding returns, as NEFTune does."""

from __future__ import annotations

import copy
import math
from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from antifragile.errors import UsageError
from antifragile.optim import Handle, perturb, presets

N_TOKENS, WIDTH, LENGTH = 50, 8, 7
IDS = torch.randint(0, N_TOKENS, (4, LENGTH), generator=torch.Generator().manual_seed(0))


class LanguageModel(nn.Module):
    """Tokens, their types and positions, each with an embedding; keeps what each has read."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(N_TOKENS, WIDTH)
        self.types = nn.Embedding(N_TOKENS, WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        self.head = nn.Linear(WIDTH, N_TOKENS)
        self.checkpoints = False

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        if self.checkpoints:
            read = checkpoint(self.embed, input_ids, token_type_ids, use_reentrant=False)
        else:
            read = self.embed(input_ids, token_type_ids, inputs_embeds)
        return self.head(torch.tanh(read))

    def embed(
        self, ids: Tensor | None, types: Tensor | None = None, embeds: Tensor | None = None
    ) -> Tensor:
        read = self.tokens(ids) if embeds is None else embeds
        parts = [read, self.positions(torch.arange(read.shape[1]))]
        parts += [] if types is None else [self.types(types)]
        self.read = [part.detach() for part in parts]
        return sum(parts[1:], parts[0])

    @property
    def noise(self) -> Tensor:
        return self.read[0] - self.tokens.weight[IDS].detach()

    @property
    def noise_on_types(self) -> Tensor:
        return self.read[2] - self.types.weight[IDS % 2].detach()


def perturbed(rules: Any, **options: Any) -> tuple[LanguageModel, torch.optim.Optimizer, Handle]:
    model = LanguageModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, perturb(optimizer, rules, seed=0, model=model, **options)


@pytest.mark.parametrize("alpha", [5.0, 15.0])
def test_the_noise_of_neftune_is_uniform_with_the_papers_bound(alpha: float) -> None:
    model, _, _ = perturbed(presets.neftune(alpha))
    drawn = []
    for _ in range(50):
        model(IDS)
        drawn.append(model.noise.flatten())
    noise, bound = torch.cat(drawn), alpha / math.sqrt(LENGTH * WIDTH)
    assert float(noise.abs().max()) <= bound * (1 + 1e-5)
    assert float(noise.abs().max()) > 0.999 * bound
    shares = torch.histc(noise / bound, 10, -1, 1) / len(noise)
    assert float((shares - 0.1).abs().max()) < 0.01
    assert float((drawn[0] - drawn[1]).abs().max()) > 0, "every forward has its own"


def test_a_longer_sequence_has_less_noise_on_each_token() -> None:
    model, _, _ = perturbed(presets.neftune())
    for length in (1, LENGTH):
        ids = torch.zeros(1000, length, dtype=torch.int64)
        model(ids)
        lengths = (model.read[0] - model.tokens.weight[0].detach()).square().sum(dim=(1, 2))
        assert float(lengths.mean()) == pytest.approx(5**2 / 3, rel=0.05), "that of a sample"


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model(IDS),
        lambda model: model(input_ids=IDS, token_type_ids=IDS % 2, labels=IDS),
        lambda model: model(IDS.view(4, LENGTH), labels=IDS.clone()),
        lambda model: model(**UserDict(input_ids=IDS, attention_mask=torch.ones(4, LENGTH).long())),
    ],
    ids=["positional", "keywords", "a view", "mapping"],
)
@pytest.mark.parametrize("inputs", ["integers", "input_ids"])
def test_the_tokens_embedding_alone_is_perturbed(call: Any, inputs: str) -> None:
    model, optimizer, _ = perturbed(presets.neftune(inputs=inputs))
    call(model).sum().backward()
    assert float(model.noise.abs().min()) > 0
    assert torch.equal(model.read[1], model.positions.weight)
    assert len(model.read) == 2 or not model.noise_on_types.any()
    optimizer.step()


def test_two_arguments_that_are_named_have_noise_of_their_own() -> None:
    model, optimizer, _ = perturbed(presets.neftune(inputs=("input_ids", "token_type_ids")))
    model(IDS, IDS % 2).sum().backward()
    assert float(model.noise_on_types.abs().min()) > 0
    assert float((model.noise_on_types - model.noise).abs().max()) > 0
    optimizer.step()


def test_columns_of_one_tensor_are_told_apart() -> None:
    pair = torch.stack([IDS, IDS % 2], dim=-1)
    model, _, _ = perturbed(presets.neftune(inputs="token_type_ids"))
    model(pair[..., 0], pair[..., 1])
    assert float(model.noise.abs().max()) == 0
    assert float(model.noise_on_types.abs().min()) > 0


def test_embeddings_handed_in_get_the_noise_themselves() -> None:
    model, optimizer, _ = perturbed(presets.neftune(inputs="inputs_embeds"))
    model(inputs_embeds=model.tokens.weight[IDS].detach()).sum().backward()
    assert float(model.noise.abs().max()) <= 5 / math.sqrt(LENGTH * WIDTH) * (1 + 1e-5)
    assert float(model.noise.abs().min()) > 0
    optimizer.step()


def test_input_noise_goes_to_the_embedding_where_there_is_no_floating_point_input() -> None:
    model, optimizer, _ = perturbed(presets.input_noise(0.3))
    model(IDS).sum().backward()
    assert float(model.noise.std()) == pytest.approx(0.3, rel=0.15)
    optimizer.step()


def test_evaluation_clean_and_removal_leave_the_embedding_alone() -> None:
    model, _, handle = perturbed(presets.neftune())
    model(IDS)
    model.eval()
    model(IDS)
    assert float(model.noise.abs().max()) == 0
    model.train()
    with handle.clean():
        model(IDS)
        assert float(model.noise.abs().max()) == 0
    copied = copy.deepcopy(model)
    copied(IDS)
    assert float(copied.noise.abs().max()) == 0
    handle.remove()
    model(IDS)
    assert float(model.noise.abs().max()) == 0


def test_a_repeated_forward_has_the_noise_it_had() -> None:
    found = []
    for repeats in (False, True):
        model, _, _ = perturbed(presets.neftune(15.0, inputs=("input_ids", "token_type_ids")))
        model.checkpoints = repeats
        for shift in range(2):
            model((IDS + shift) % N_TOKENS, (IDS + shift) % 2).square().sum().backward()
        found.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert torch.allclose(*found)


def test_a_resumed_run_has_the_same_noise() -> None:
    def steps(model: LanguageModel, optimizer: torch.optim.Optimizer, n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            model(IDS).square().sum().backward()
            optimizer.step()

    whole, optimizer, _ = perturbed(presets.neftune())
    steps(whole, optimizer, 4)
    half, optimizer, _ = perturbed(presets.neftune())
    steps(half, optimizer, 2)
    saved = copy.deepcopy((half.state_dict(), optimizer.state_dict()))
    resumed, optimizer, _ = perturbed(presets.neftune())
    resumed.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    steps(resumed, optimizer, 2)
    assert torch.equal(resumed.tokens.weight, whole.tokens.weight)


@pytest.mark.parametrize(
    ("inputs", "call", "message"),
    [
        ("labels", lambda m: m(IDS, labels=IDS.clone()), "reads the integers 'labels' themselves"),
        ("integers", lambda m: m(inputs_embeds=m.tokens.weight[IDS]), "found no integers that a"),
        ("input_ids", lambda m: m(inputs_embeds=m.tokens.weight[IDS]), "no argument 'input_ids'"),
    ],
)
def test_token_ids_that_no_embedding_reads_are_refused_at_the_step(
    inputs: str, call: Any, message: str
) -> None:
    model, optimizer, _ = perturbed(presets.neftune(inputs=inputs))
    call(model).sum().backward()
    with pytest.raises(UsageError, match=message):
        optimizer.step()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # by dynamo
def test_a_compiled_model_has_the_same_noise() -> None:
    found = []
    for compiles in (False, True):
        model, optimizer, handle = perturbed(presets.neftune())
        if compiles:
            handle.remove()
            called = torch.compile(model, backend="eager")
            perturb(optimizer, presets.neftune(), seed=0, model=called)
        else:
            called = model
        called(IDS).square().sum().backward()
        optimizer.step()
        found.append(model.tokens.weight.detach().clone())
    assert torch.equal(*found)
