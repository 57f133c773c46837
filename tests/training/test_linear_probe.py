"""The probe against scikit-learn, scipy and its own definition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from headstart.core import large_arrays
from headstart.training import linear_probe as probe
from headstart.training import logistic_regression as logistic
from headstart.training.linear_probe import ProbeStep, fit_probe
from headstart.training.logistic_regression import Rows, _Objective, principal_axes, solve, standardiser
from headstart.training.strengths import L2_GRID, USUAL_L2


def blobs(n: int, d: int, classes: int, seed: int = 0, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    middles = np.random.default_rng(99).normal(size=(classes, d)) * apart
    mixing = np.random.default_rng(98).normal(size=(d, d)) / np.sqrt(d)
    return ((middles[labels] + rng.normal(size=(n, d))) @ mixing + 3).astype(np.float32), labels


def solve_grid(
    x: torch.Tensor, y: torch.Tensor, classes: int, l2: torch.Tensor, tolerance: float = 1e-5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [G, C, D] and biases [G, C] for standardised features."""
    found = [one for together in solve(Rows(x), y, classes, l2.tolist(), tolerance) for one in together]
    assert [strength for strength, _, _ in found] == l2.tolist()
    return torch.stack([w for _, w, _ in found]), torch.stack([b for _, _, b in found])


def standard(x: np.ndarray) -> torch.Tensor:
    t = torch.from_numpy(x).double()
    mean, scale = standardiser(t)
    return (t - mean) / scale


def objective(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, b: torch.Tensor, l2: float) -> torch.Tensor:
    return F.cross_entropy(x @ w.T + b, y) + 0.5 * l2 * (w * w).sum()


@pytest.mark.parametrize(("n", "d", "classes"), [(120, 10, 3), (40, 100, 4), (60, 60, 5), (30, 8, 2)])
def test_each_strength_is_solved_as_scikit_learn_solves_it(n: int, d: int, classes: int) -> None:
    from sklearn.linear_model import LogisticRegression

    features, labels = blobs(n, d, classes)
    x, y = standard(features), torch.from_numpy(labels)
    grid = (1e-2, 1e-1, 1.0, 10.0)
    weight, _ = solve_grid(x, y, classes, torch.tensor(grid, dtype=torch.float64))
    # The free bias is held by next to nothing where classes are apart, so it is compared at a tighter tolerance.
    _, bias = solve_grid(x, y, classes, torch.tensor(grid, dtype=torch.float64), tolerance=1e-8)
    for l2, w, b in zip(grid, weight, bias, strict=True):
        # Two classes: scikit-learn fits one vector, the difference of our two, at which half the strength is felt.
        strength = l2 if classes > 2 else l2 / 2
        model = LogisticRegression(C=1 / (n * strength), tol=1e-10, max_iter=10_000).fit(x.numpy(), labels)
        ours = w.numpy() if classes > 2 else (w[1:] - w[:1]).numpy()
        ours_b = (b - b.mean()).numpy() if classes > 2 else (b[1:] - b[:1]).numpy()
        assert np.abs(ours - model.coef_).max() < 1e-3
        theirs_b = model.intercept_ - (model.intercept_.mean() if classes > 2 else 0)
        assert np.abs(ours_b - theirs_b).max() < 1e-3


@pytest.mark.parametrize("l2", [L2_GRID[0], L2_GRID[5], L2_GRID[-1]])
def test_no_better_point_is_found_in_float64(l2: float) -> None:
    features, labels = blobs(50, 20, 3)
    x, y = standard(features), torch.from_numpy(labels)
    weight, bias = solve_grid(x, y, 3, torch.tensor([l2], dtype=torch.float64))
    w, b = weight[0].clone().requires_grad_(), bias[0].clone().requires_grad_()
    ours = objective(x, y, weight[0], bias[0], l2).item()
    search = torch.optim.LBFGS(
        [w, b], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        search.zero_grad()
        loss = objective(x, y, w, b, l2)
        loss.backward()
        return loss

    search.step(closure)
    assert ours - objective(x, y, w, b, l2).item() < 1e-7
    exact, _ = solve_grid(x, y, 3, torch.tensor([l2], dtype=torch.float64), tolerance=1e-8)
    assert (w.detach() - exact[0]).abs().max() < 1e-3


def test_the_gradient_is_the_objectives_own() -> None:
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(9, 4, generator=generator).double(), torch.arange(9) % 3
    penalty = torch.rand(2, 4, 1, generator=generator).double()
    w = torch.randn(2, 4, 3, generator=generator).double().requires_grad_()
    loss, gradient = _Objective(z, y, penalty)(w, torch.arange(2))
    loss.sum().backward()
    assert torch.allclose(w.grad, gradient, atol=1e-12)
    assert loss[0].item() == pytest.approx((F.cross_entropy(z @ w[0], y) + (penalty[0] * w[0] ** 2).sum() / 2).item())


def test_each_strength_is_solved_as_if_it_were_alone() -> None:
    features, labels = blobs(40, 30, 3)
    x, y = standard(features), torch.from_numpy(labels)
    together, _ = solve_grid(x, y, 3, torch.tensor([1e-3, 1e2], dtype=torch.float64), tolerance=1e-9)
    for g, l2 in enumerate((1e-3, 1e2)):
        alone, _ = solve_grid(x, y, 3, torch.tensor([l2], dtype=torch.float64), tolerance=1e-9)
        assert torch.allclose(together[g], alone[0], atol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(20, 50), (50, 20), (20, 20)])
def test_principal_axes_span_the_rows(n: int, d: int) -> None:
    x = standard(blobs(n, d, 2)[0])
    axes, spread = principal_axes(Rows(x))
    assert axes.shape[1] <= min(n, d)
    assert torch.allclose(axes.T @ axes, torch.eye(axes.shape[1]).double(), atol=1e-8)
    assert torch.allclose(x @ axes @ axes.T, x, atol=1e-6)
    assert torch.allclose((x @ axes).square().mean(0), spread, rtol=1e-6)


def test_the_head_stands_on_raw_features() -> None:
    features, labels = blobs(90, 12, 3)
    probe = fit_probe((features[:60], labels[:60]), (features[60:], labels[60:]), 3)
    chosen = next(step for step in probe.path if step.l2 == probe.l2)
    logits = torch.from_numpy(features[60:]) @ probe.weight.T + probe.bias
    logits *= probe.temperature
    assert F.cross_entropy(logits, torch.from_numpy(labels[60:])).item() == pytest.approx(chosen.val_loss, abs=1e-4)


def best_of(path: Sequence[ProbeStep], photos: int) -> float:
    """The L2 that the rule for the choice takes."""
    return max(path, key=lambda step: probe._selection_score(step, photos)).l2


def test_the_path_holds_every_strength_and_the_chosen_head_is_of_one() -> None:
    train, val = blobs(30, 20, 3, seed=1, apart=0.4), blobs(200, 20, 3, seed=2, apart=0.4)
    probe = fit_probe(train, val, 3)
    assert [step.l2 for step in probe.path] == list(L2_GRID)
    assert probe.l2 == best_of(probe.path, 200)
    losses = [step.train_loss for step in probe.path]
    assert losses == sorted(losses)


@pytest.mark.parametrize(
    ("right", "chosen"),
    [
        ([50, 50, 50, 50, 50], USUAL_L2),  # all tie: the usual one
        ([50, 50, 50, 50, 53], USUAL_L2 * 100),  # three photos more are worth two decades
        ([52, 50, 50, 50, 50], USUAL_L2 / 100),
        ([50, 50, 50, 51, 51], USUAL_L2 * 10),  # of equals the nearer to the usual
    ],
)
def test_val_accuracy_chooses_and_ties_go_to_the_usual(right: list[int], chosen: float) -> None:
    grid = [USUAL_L2 * 10.0**k for k in (-2, -1, 0, 1, 2)]
    path = [ProbeStep(l2, 0.0, 1.0, 1.0, n / 100) for l2, n in zip(grid, right, strict=True)]
    assert best_of(path, 100) == chosen


def test_features_that_never_vary_are_ignored() -> None:
    features, labels = blobs(40, 6, 2)
    features[:, 3] = 1e6
    probe = fit_probe((features, labels), (features, labels), 2)
    assert probe.weight[:, 3].abs().max() < 1e-6
    assert torch.isfinite(probe.bias).all()
    assert max(step.val_accuracy for step in probe.path) == 1.0


def test_one_photo_per_class_is_enough() -> None:
    features, labels = blobs(3, 50, 3)
    probe = fit_probe((features, labels), (features, labels), 3)
    assert probe.weight.shape == (3, 50)
    assert all(step.train_accuracy == 1.0 for step in probe.path[:5])


@pytest.fixture
def all_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "LARGE", 0)
    monkeypatch.setattr(logistic, "CHUNK_ENTRIES", 7 * 33)  # seven photos at a time, which does not divide their number
    monkeypatch.setattr(logistic, "GROUP_ENTRIES", 2 * 21 * 3)  # two strengths at a time


@pytest.mark.usefixtures("all_is_large")
def test_large_problems_are_solved_in_parts_to_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(60, 20, 3, apart=0.3)
    train, val = (features[::2], labels[::2]), (features[1::2], labels[1::2])
    monkeypatch.setattr(probe, "PATIENCE", 99)
    large = fit_probe(train, val, 3)
    monkeypatch.undo()
    small = fit_probe(train, val, 3)
    assert large.l2 == small.l2
    assert torch.allclose(large.weight, small.weight, atol=1e-3 * float(small.weight.abs().max()))
    for a, b in zip(large.path, small.path, strict=True):
        assert (a.l2, a.val_accuracy) == (b.l2, b.val_accuracy)
        assert (a.train_loss, a.val_loss) == pytest.approx((b.train_loss, b.val_loss), abs=1e-3)


@pytest.mark.usefixtures("all_is_large")
def test_weaker_strengths_that_only_overfit_are_not_tried_on_large_sets() -> None:
    train, val = blobs(60, 20, 3, seed=1, apart=0.1), blobs(400, 20, 3, seed=2, apart=0.1)
    found = fit_probe(train, val, 3)
    tried = [step.l2 for step in found.path]
    assert tried == list(L2_GRID[-len(tried) :])
    assert len(tried) < len(L2_GRID)
    accuracies = [step.val_accuracy for step in found.path]
    assert max(accuracies[: probe.PATIENCE]) < max(accuracies)
    assert found.l2 == best_of(found.path, 400)


def test_memory_is_the_features_and_one_copy_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tensors that PyTorch makes, only one grows with the photos."""
    from torch.profiler import ProfilerActivity, profile

    monkeypatch.setattr(logistic, "CHUNK_ENTRIES", 2**14)
    monkeypatch.setattr(large_arrays, "empty", lambda shape, dtype: torch.empty(shape, dtype=torch.float64).numpy())
    features, labels = blobs(4000, 64, 2)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        fit_probe((features, labels), (features[:100], labels[:100]), 2, (0.1,))
    held = peak = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert features.size * 8 < peak < 1.5 * features.size * 8


def test_the_curvature_is_the_diagonal_of_the_objectives_hessian() -> None:
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(9, 4, generator=generator).double(), torch.arange(9) % 3
    problem = _Objective(z, y, torch.rand(2, 4, 1, generator=generator).double())
    w = torch.randn(2, 4, 3, generator=generator).double()
    whole = torch.autograd.functional.hessian(lambda v: problem(v, torch.arange(2))[0].sum(), w)
    assert torch.allclose(whole.reshape(24, 24).diagonal().view(2, 4, 3), problem.curvature(w, torch.arange(2)))


def test_weak_strengths_take_few_passes_over_the_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the curvature's upper bound alone it would be four times as many."""
    passes = []
    chunks = _Objective._chunks
    monkeypatch.setattr(_Objective, "_chunks", lambda self, w: passes.append(len(w)) or chunks(self, w))
    features, labels = blobs(60, 100, 3, apart=0.1)
    solve_grid(standard(features), torch.from_numpy(labels), 3, torch.tensor(L2_GRID, dtype=torch.float64))
    assert len(passes) < 45
