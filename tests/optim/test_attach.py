"""What a perturbed step computes, place by place, against the update written by hand."""

from __future__ import annotations

import copy
import gc
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import antifragile
from antifragile.errors import UsageError
from antifragile.optim import (
    Along,
    Anti,
    Gaussian,
    InitLike,
    Noise,
    On,
    Power,
    Rademacher,
    RatioToGradient,
    Rule,
    Sphere,
    Uniform,
    perturb,
    presets,
)
from antifragile.optim.noise.streams import Stream, draw, normal_levels
from tests.optim.small_training import (
    BASES,
    Point,
    are_equal,
    batch,
    network,
    take_steps,
    weights_of,
)


def noise_at(parameter: Tensor, *, step: int, seed: int = 0, rule: int = 0) -> Tensor:
    """The Gaussian noise of the first parameter."""
    stream = Stream(keys=(seed,), step=step, rule=rule)
    return draw(stream, normal_levels(), [0], [parameter])[0]


def descend(model: Point, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model().backward()
        optimizer.step()


def test_the_public_name_is_perturb() -> None:
    assert antifragile.perturb is perturb


def test_an_optimizer_stays_what_it_is() -> None:
    model = network()
    optimizer = BASES["adam"](model.parameters())
    perturb(optimizer, presets.annealed_gradient_noise())
    assert type(optimizer) is torch.optim.Adam
    torch.optim.lr_scheduler.StepLR(optimizer, 3)


def test_gradient_noise_is_added_to_the_gradient() -> None:
    model = Point([1.0, -2.0, 3.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("grad", Gaussian(), Power(0.04, 0.55)), seed=7)
    w = model.w.detach().clone()
    for step in range(5):
        scale = 0.2 * (1 + step) ** (-0.55 / 2)
        w = w - 0.1 * (w + scale * noise_at(w, step=step, seed=7))
        descend(model, optimizer, 1)
        assert torch.allclose(model.w, w, atol=1e-6)


def test_step_noise_is_added_after_the_step_for_good() -> None:
    model = Point([1.0, -2.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("step", Gaussian(), 0.5))
    w = model.w.detach().clone()
    for step in range(3):
        w = w - 0.1 * w + 0.5 * noise_at(w, step=step)
    descend(model, optimizer, 3)
    assert torch.allclose(model.w, w, atol=1e-6)


def test_weight_noise_is_there_for_the_gradient_alone() -> None:
    model = Point([1.0, -2.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = perturb(optimizer, Rule("weight", Gaussian(), 0.5))
    w = torch.tensor([1.0, -2.0])
    for step in range(4):
        assert torch.equal(model.w, w + 0.5 * noise_at(w, step=step))
        w = w - 0.1 * (w + 0.5 * noise_at(w, step=step))
        descend(model, optimizer, 1)
        with handle.clean():
            assert torch.allclose(model.w, w, atol=1e-6)
            w = model.w.detach().clone()


def test_weight_noise_is_anti_pgd_seen_from_the_clean_weights() -> None:
    starts = [0.3, -1.0, 2.0]
    seen, printed = Point(starts), Point(starts)
    one = torch.optim.SGD(seen.parameters(), lr=0.1)
    perturb(one, Rule("weight", Gaussian(), 0.2))
    with torch.no_grad():
        printed.w.add_(0.2 * noise_at(printed.w, step=0))
    two = torch.optim.SGD(printed.parameters(), lr=0.1)
    for step in range(30):
        descend(seen, one, 1)
        descend(printed, two, 1)
        with torch.no_grad():
            now, then = noise_at(printed.w, step=step), noise_at(printed.w, step=step + 1)
            printed.w.add_(0.2 * (then - now))
        assert torch.allclose(seen.w, printed.w, atol=1e-5)


def test_anticorrelated_noise_telescopes_and_ends_with_its_window() -> None:
    model = Point([1.0, 2.0], curvature=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("step", Anti(Gaussian()), On(0.5, until=4)))
    start = model.w.detach().clone()
    for step in range(4):
        descend(model, optimizer, 1)
        assert torch.allclose(model.w, start + 0.5 * noise_at(start, step=step), atol=1e-6)
    descend(model, optimizer, 2)
    assert torch.allclose(model.w, start, atol=1e-6)


def test_sam_takes_the_gradient_uphill() -> None:
    model = Point([3.0, 4.0], curvature=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.sam(rho=0.5))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.item() == 25.0
    assert torch.allclose(model.w, torch.tensor([3.0, 4.0]) - 0.2 * torch.tensor([3.3, 4.4]))


def test_asam_measures_in_units_of_the_weights() -> None:
    w, g = torch.tensor([3.0, -0.5]), torch.tensor([6.0, -1.0])
    model = Point(w.tolist(), curvature=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.asam(rho=0.5, floor=0.0))
    t = w.abs()
    climbed = w + 0.5 * t**2 * g / (t * g).norm()
    optimizer.step(closure_of(model, optimizer))
    assert torch.allclose(model.w, w - 0.1 * 2 * climbed)


def closure_of(model: Point, optimizer: torch.optim.Optimizer):  # type: ignore[no-untyped-def]
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model()
        loss.backward()
        return loss

    return closure


def test_sam_does_not_count_batch_statistics_twice() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, presets.sam(), model=model)
    take_steps(model, optimizer, range(3), closure=True)
    assert int(model[1].num_batches_tracked) == 3


def test_lagged_sam_climbs_along_the_last_gradient() -> None:
    model = Point([3.0, 4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.sam_lagged(rho=0.5))
    descend(model, optimizer, 1)
    assert torch.allclose(model.w, torch.tensor([2.7, 3.6]) + 0.5 * torch.tensor([0.6, 0.8]))


def test_msam_is_the_authors_update() -> None:
    model = Point([3.0, -1.0, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    perturb(optimizer, presets.msam(rho=0.3))
    clean, momentum = model.w.detach().clone(), torch.zeros(3)
    seen = clean
    for _ in range(6):
        momentum = 0.9 * momentum + seen
        clean = clean - 0.1 * momentum
        seen = clean - 0.3 * momentum / momentum.norm()
        descend(model, optimizer, 1)
        assert torch.allclose(model.w, seen, atol=1e-6)


def test_random_weight_perturbation_is_in_units_of_the_filters_norm() -> None:
    model = nn.Linear(400, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [0.1], [1.0]]).expand(3, 400))
    before = model.weight.detach().clone()
    perturb(torch.optim.SGD(model.parameters(), lr=0.1), presets.random_weight_perturbation(0.01))
    spread = (model.weight.detach() - before).std(dim=1)
    assert float(spread[0]) == 0
    assert spread[1:].tolist() == pytest.approx([0.01 * 2.0, 0.01 * 20.0], rel=0.15)


def test_shrink_and_perturb_shrinks_matrices_now_and_then() -> None:
    model = nn.Linear(50, 40)
    before = weights_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, presets.shrink_and_perturb(shrink=0.6, sigma=0.1, every=2))
    for _ in range(2):
        model(torch.zeros(1, 50)).sum().backward()
        optimizer.step()
    assert torch.equal(model.bias, before["bias"])
    rest = model.weight - 0.6 * before["weight"]
    assert 0 < float(rest.detach().abs().max()) <= 0.1001 / math.sqrt(50)


def test_a_reset_takes_weights_back_and_their_moments_to_zero() -> None:
    model = nn.Linear(30, 30, bias=False)
    before = model.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    perturb(optimizer, presets.stochastic_reset(rate=1.0, fraction=0.25))
    model(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    back = model.weight == before
    assert 0.15 < float(back.float().mean()) < 0.35
    state = optimizer.state[model.weight]
    assert torch.equal(state["exp_avg"] == 0, back)
    assert torch.equal(state["exp_avg_sq"] == 0, back)


def test_pgd_kicks_inside_a_ball_where_the_gradient_is_small() -> None:
    model = Point([0.0] * 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, presets.pgd(radius=0.3, threshold=1e-9, wait=5))
    descend(model, optimizer, 1)
    assert 0 < model.w.norm().item() <= 0.3


def test_sgld_noise_follows_the_learning_rate() -> None:
    model = Point([0.0] * 10_000, curvature=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    perturb(optimizer, presets.sgld(temperature=2.0, n_samples=4))
    descend(model, optimizer, 1)
    assert model.w.std().item() == pytest.approx(math.sqrt(2 * 0.02 * 2 / 4), rel=0.03)


def test_psgld_on_plain_sgd_moves_in_the_metric_of_its_own_squares() -> None:
    model = Point([2.0, -4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.psgld(temperature=0.0, decay=0.75, floor=1e-9))
    descend(model, optimizer, 1)
    # V = g^2 / 4, so G g = 2 sign(g)
    assert torch.allclose(model.w, torch.tensor([1.8, -3.8]))


@pytest.mark.parametrize("noise", [Gaussian(), Rademacher(), Uniform(), InitLike(), Sphere()])
def test_every_noise_can_be_drawn_into_every_dtype(noise: Noise) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        model = nn.Linear(6, 5).to(dtype)
        before = weights_of(model)
        handle = perturb(torch.optim.SGD(model.parameters(), lr=0.1), Rule("weight", noise, 0.5))
        assert not torch.equal(model.weight, before["weight"])
        handle.remove()
        assert are_equal(weights_of(model), before)


def test_a_tensor_that_is_not_contiguous_gets_the_same_numbers() -> None:
    dense, strided = nn.Linear(6, 5, bias=False), nn.Linear(6, 5, bias=False)
    strided.weight = nn.Parameter(dense.weight.detach().t().contiguous().t())
    for model in (dense, strided):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        perturb(optimizer, Rule("weight", Gaussian(), 0.5))
    assert torch.equal(dense.weight, strided.weight)


def test_storage_is_never_reassigned() -> None:
    model = network()
    before = [p.data_ptr() for p in model.parameters()]
    optimizer = BASES["adam"](model.parameters())
    perturb(optimizer, presets.anti_pgd(), presets.sam(), presets.sgld(), model=model)
    take_steps(model, optimizer, range(3), closure=True)
    weights_of(model)
    assert [p.data_ptr() for p in model.parameters()] == before


@pytest.mark.parametrize("steps", [0, 1])
def test_weights_beyond_every_cache_come_back_bit_for_bit(steps: int) -> None:
    large = nn.Parameter(torch.rand(2**23 + 3))
    before = large.detach().clone()
    optimizer = torch.optim.SGD([large, nn.Parameter(torch.rand(5))], lr=0.0)
    handle = perturb(optimizer, Rule("weight", Rademacher(), 0.1))
    assert not torch.equal(large, before)
    for _ in range(steps):
        large.grad = torch.zeros_like(large)
        optimizer.step()
    handle.remove()
    assert torch.equal(large, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_may_change_their_dtype_while_lifted(dtype: torch.dtype) -> None:
    model = nn.Linear(300, 300)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    handle = perturb(optimizer, Rule("weight", Rademacher(), 0.1))
    with handle.clean():
        model.to(dtype)
        before = weights_of(model)
    assert not torch.equal(model.weight, before["weight"])
    model(torch.ones(1, 300, dtype=dtype)).sum().backward()
    optimizer.step()
    with handle.clean():
        assert are_equal(weights_of(model), before)


def test_rules_compose() -> None:
    model = Point([1.0, -2.0, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(
        optimizer,
        Rule("weight", Gaussian(), 0.3),
        Rule("grad", Gaussian(), 0.2),
        Rule("weight", Rademacher(), 0.0),
        [Rule("step", Gaussian(), 0.1)],
    )
    w = torch.tensor([1.0, -2.0, 0.5])
    for step in range(3):
        seen = w + 0.3 * noise_at(w, step=step, rule=0)
        gradient = seen + 0.2 * noise_at(w, step=step, rule=1)
        w = w - 0.1 * gradient + 0.1 * noise_at(w, step=step, rule=3)
    descend(model, optimizer, 3)
    assert torch.allclose(model.w, w + 0.3 * noise_at(w, step=3, rule=0), atol=1e-6)


def test_groups_have_their_own_share_and_learning_rate() -> None:
    quiet, loud, out = (nn.Parameter(torch.zeros(2000)) for _ in range(3))
    optimizer = torch.optim.SGD(
        [
            {"params": [quiet], "lr": 0.01},
            {"params": [loud], "lr": 0.04, "perturb": 3.0},
            {"params": [out], "perturb": False},
        ],
        lr=0.1,
    )
    perturb(optimizer, presets.sgld())
    for p in (quiet, loud, out):
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert quiet.std().item() == pytest.approx(math.sqrt(2 * 0.01), rel=0.06)
    assert loud.std().item() == pytest.approx(3 * math.sqrt(2 * 0.04), rel=0.06)
    assert not out.any()


def test_matrices_are_in_a_word() -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, Rule("weight", Rademacher(), 0.1, params="matrices"))
    moved = {key for key, value in weights_of(model).items() if not torch.equal(value, before[key])}
    assert moved == {"0.weight", "3.weight"}


@pytest.mark.parametrize("params", [r"^3\.", lambda name, p: name.startswith("3.")])
def test_parameters_are_chosen_by_name(params: object) -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["sgd"](model.named_parameters())
    handle = perturb(optimizer, Rule("weight", Rademacher(), 0.1, params=params))  # type: ignore[arg-type]
    moved = {key for key, value in weights_of(model).items() if not torch.equal(value, before[key])}
    assert moved == {"3.weight", "3.bias"}
    handle.remove()
    assert are_equal(weights_of(model), before)


def test_frozen_parameters_and_those_without_gradient_are_left_alone() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    rules = [Rule(place, Rademacher(), 0.1) for place in ("grad", "weight", "step")]
    before = weights_of(model)
    perturb(optimizer, *rules, model=model)
    model[3].bias.grad = torch.zeros(3)
    optimizer.step()
    after = weights_of(model)
    assert {key for key in after if not torch.equal(after[key], before[key])} == {"3.bias"}


def test_a_group_added_later_is_perturbed_too() -> None:
    model, late = Point([1.0]), nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, Rule("weight", Rademacher(), 0.5))
    optimizer.add_param_group({"params": [late]})
    descend(model, optimizer, 1)
    assert late.abs().tolist() == [0.5] * 4
    assert (model.w - 1.0).abs().item() == 0.5


def test_inputs_are_noised_in_training_alone() -> None:
    model = nn.Sequential(nn.Identity())
    extra = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([extra], lr=0.1)
    perturb(optimizer, presets.input_noise(0.5), model=model)
    x = torch.zeros(4000)
    first, second = model(x), model(x)
    assert float(first.std()) == pytest.approx(0.5, rel=0.05)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(x), x)


def test_weights_are_clean_for_whoever_evaluates_or_saves() -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), model=model)
    noisy = [p.detach().clone() for p in model.parameters()]
    assert not torch.equal(noisy[0], before["0.weight"])
    assert are_equal(weights_of(model), before)
    model.train()
    model(batch(0)[0])
    assert all(torch.equal(a, b) for a, b in zip(noisy, model.parameters(), strict=True))
    model.eval()
    model(batch(0)[0])
    assert torch.equal(model[0].weight, before["0.weight"])


def test_an_evaluation_between_steps_changes_nothing() -> None:
    ends = []
    for evaluates in (False, True):
        model = network()
        optimizer = BASES["adam"](model.parameters())
        handle = perturb(optimizer, presets.anti_pgd(), presets.sam_lagged(), model=model)
        for number in range(4):
            take_steps(model, optimizer, [number])
            if evaluates:
                model.eval()
                model(batch(9)[0])
                model.state_dict()
                with handle.clean():
                    pass
        ends.append(weights_of(model))
    assert are_equal(*ends)


def test_a_copy_of_the_model_is_free_of_the_handle() -> None:
    model = network()
    perturb(BASES["sgd"](model.parameters()), Rule("weight", Gaussian(), 0.1), model=model)
    copied = copy.deepcopy(model)
    before = copied[0].weight.detach().clone()
    copied.eval()
    copied(batch(0)[0])
    assert torch.equal(copied[0].weight, before)


def test_a_model_outlives_its_optimizer() -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["adam"](model.parameters())
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), model=model)
    del optimizer
    gc.collect()
    assert are_equal(weights_of(model), before)


def test_remove_leaves_no_trace() -> None:
    model = network()
    optimizer = BASES["adam"](model.parameters())
    handle = perturb(optimizer, presets.anti_pgd(), presets.input_noise(), model=model)
    handle.remove()
    plain = network()
    other = BASES["adam"](plain.parameters())
    take_steps(model, optimizer, range(3))
    take_steps(plain, other, range(3))
    assert are_equal(weights_of(model), weights_of(plain))
    assert "antifragile" not in optimizer.state_dict()["param_groups"][0]
    perturb(optimizer, presets.anti_pgd())


def test_metrics_say_how_much_is_added() -> None:
    model = Point([3.0, 4.0] + [0.0] * 98)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = perturb(
        optimizer, Rule("grad", Rademacher(), 0.1), Rule("weight", Sphere(), RatioToGradient(0.5))
    )
    assert handle.metrics()[0]["gradient_norm"] is None
    descend(model, optimizer, 1)
    grad, weight = handle.metrics()
    assert grad["where"] == "grad"
    assert grad["noise_norm"] == pytest.approx(1.0)
    assert grad["gradient_norm"] == pytest.approx(5.0)
    assert grad["ratio"] == pytest.approx(0.2)
    assert weight["noise_norm"] == pytest.approx(2.5)
    assert weight["controller"]["norm"] == pytest.approx([5.0])


def test_a_broken_gradient_does_not_break_the_controller() -> None:
    model = Point([3.0, 4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    handle = perturb(optimizer, Rule("weight", Rademacher(), RatioToGradient(0.1)))
    descend(model, optimizer, 1)
    before = handle.metrics()[0]
    optimizer.zero_grad()
    (model() * float("nan")).backward()
    optimizer.step()
    after = handle.metrics()[0]
    assert after["scale"] == before["scale"]
    assert after["controller"] == before["controller"]
    with handle.clean():
        model.w.data = model.w.data.nan_to_num(0.0)


def test_a_broken_gradient_makes_no_lagged_perturbation() -> None:
    model = Point([3.0, 4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, Rule("weight", Along("grad"), 0.1))
    model.w.grad = torch.tensor([float("inf"), 1.0])
    optimizer.step()
    assert not model.w.isinf().any()


def test_gradients_in_scaled_units_get_scaled_noise() -> None:
    ends = []
    for fused in (False, True):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
        perturb(optimizer, Rule("grad", Rademacher(), RatioToGradient(0.5)), model=model)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for number in range(4):
            x, y = batch(number)
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(weights_of(model))
    assert all(torch.allclose(ends[0][k], ends[1][k], atol=1e-5) for k in ends[0])


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_step_does_not_count(fused: bool) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    handle = perturb(
        optimizer,
        presets.annealed_gradient_noise(),
        presets.anti_pgd(),
        presets.sgld(),
        model=model,
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before, noisy = weights_of(model), None
    for number, breaks in enumerate((True, False)):
        optimizer.zero_grad()
        loss = cross_entropy(model(batch(number)[0]), batch(number)[1])
        noisy = model[0].weight.detach().clone() if noisy is None else noisy
        scaler.scale(loss * (float("inf") if breaks else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        if breaks:
            assert handle.step_number == 0
            assert torch.equal(model[0].weight, noisy)
            same = ("0.weight", "0.bias", "3.weight", "3.bias")
            assert all(torch.equal(weights_of(model)[k], before[k]) for k in same)
    assert handle.step_number == 1


def sparse_rule_setup(place: str) -> tuple[nn.Embedding, torch.optim.Optimizer]:
    model = nn.Embedding(10, 3, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule(place, Gaussian(), RatioToGradient(0.1)))
    return model, optimizer


@pytest.mark.parametrize("place", ["grad", "weight", "step"])
def test_sparse_gradients_are_refused(place: str) -> None:
    model, optimizer = sparse_rule_setup(place)
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(UsageError, match=r"is sparse.*leave it out by params="):
        optimizer.step()


def test_calls_that_cannot_work_are_refused() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    for rules, extra, message in (
        ((), {}, "got no rule"),
        (("sam",), {}, "expected a Rule"),
        ((presets.input_noise(),), {}, "needs the model"),
        ((presets.pgd(),), {"seed": -1}, "at least 0"),
        ((presets.pgd(),), {"seed": 2**64}, r"below 2\*\*64"),
        ((presets.pgd(),), {"seed": [1, 2]}, "expected a whole number"),
        ((presets.pgd(params="nothing"),), {"model": model}, "selects none of the 6"),
        ((presets.pgd(params="weight"),), {}, "the optimizer knows none"),
    ):
        with pytest.raises(UsageError, match=message):
            perturb(optimizer, *rules, **extra)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"expected a torch\.optim\.Optimizer"):
        perturb(model, presets.pgd())  # type: ignore[arg-type]
    take_steps(model, optimizer, range(2))


def test_a_second_handle_is_refused() -> None:
    optimizer = BASES["sgd"](network().parameters())
    perturb(optimizer, presets.pgd())
    with pytest.raises(UsageError, match="perturbed already"):
        perturb(optimizer, presets.pgd())


def test_exact_sam_without_a_closure_is_refused_before_anything_moves() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, presets.sam())
    before = weights_of(model)
    cross_entropy(model(batch(0)[0]), batch(0)[1]).backward()
    with pytest.raises(UsageError, match=r"needs optimizer\.step\(closure\).*Use sam_lagged"):
        optimizer.step()
    assert torch.equal(model[0].weight, before["0.weight"])


def test_an_optimizer_that_calls_its_closure_again_is_refused() -> None:
    model = Point([1.0, 2.0])
    optimizer = torch.optim.LBFGS(model.parameters())
    perturb(optimizer, presets.annealed_gradient_noise())
    with pytest.raises(UsageError, match="LBFGS calls its closure more than once"):
        optimizer.step(closure_of(model, optimizer))


def test_a_group_with_a_senseless_share_is_refused() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    optimizer.param_groups[0]["perturb"] = -1
    with pytest.raises(UsageError, match="perturb=-1"):
        perturb(optimizer, Rule("weight", Gaussian(), 0.1))


def test_weights_written_under_a_perturbation_are_not_silently_lost() -> None:
    model = Point([1.0, 2.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("weight", Gaussian(), 0.1))
    model().backward()
    with torch.no_grad():
        model.w.clamp_(-1, 1)
    with pytest.raises(UsageError, match="1 parameters were written while a perturbation was in"):
        optimizer.step()


def test_training_on_clean_weights_by_mistake_is_refused() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), model=model)
    model.eval()
    cross_entropy(model(batch(0)[0]), batch(0)[1]).backward()
    with pytest.raises(UsageError, match=r"train in model.train\(\)"):
        optimizer.step()


def test_accumulated_gradients_see_one_perturbation_and_get_one_noise() -> None:
    model = Point([1.0, -1.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("grad", Gaussian(), 0.5))
    for _ in range(3):
        model().backward()
    w = model.w.detach().clone()
    optimizer.step()
    assert torch.allclose(model.w, w - 0.1 * (3 * w + 0.5 * noise_at(w, step=0)))
