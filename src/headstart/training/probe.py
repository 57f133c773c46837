"""Linear probes. In: features, labels and a grid of L2 strengths. Out: one linear head, chosen on val, ready to
stand on the raw features.

Multinomial logistic regression on standardised features, ``mean cross-entropy + l2/2 * |W|^2`` with a free bias, for
every strength of the grid at once: one matrix product serves all of them. Two facts make it quick.

* The solution lies in the span of the training features, so everything is solved in their principal axes (at most
  min(n, d) of them): one eigendecomposition serves every strength.
* In those axes the curvature bound of Boehning (1992, "Multinomial logistic regression algorithm"),
  ``H <= 1/2 X'X/n + l2``, is diagonal: the perfect first guess of the inverse Hessian for L-BFGS (Nocedal and Wright,
  "Numerical Optimization", 2006, algorithm 7.4).

Where classes come apart, as they do where L2 is weak, the bound is far too large. So it is scaled by the last step, and
the Hessian's own diagonal takes its place from time to time: on photos' features five of six steps fall away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

L2_GRID = tuple(float(v) for v in np.logspace(-3, 2, 11))
"""Strengths tried by default, in half decades: on photos the best is nearly always among them."""
LARGE = 2e9
"""Photos x features x strengths x classes from which products are taken in float32: half the memory, and an error far
below the tolerance (on the sets that most people have float64 costs nothing)."""
CHUNK_ENTRIES = 2**25
"""Logits held at a time, so that memory does not grow with the photos."""
RENEW = 5
"""Steps after which the Hessian's diagonal is worked out anew, which costs half a step."""
USUAL_L2 = 0.2
"""A strength that serves most photo sets; see ``choose``."""


@dataclass(frozen=True)
class ProbeStep:
    """One strength of the grid and how it does."""

    l2: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class Probe:
    """A linear head on raw features: ``weight`` [C, D] and ``bias`` [C] (float32, divided by ``temperature``); the
    strength chosen, and the whole grid (before the temperature).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    l2: float
    path: tuple[ProbeStep, ...]
    temperature: float = 1.0


def fit_probe(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    classes: int,
    l2_grid: Sequence[float] = L2_GRID,
) -> Probe:
    """Fit the grid on ``train`` and choose on ``val``; each is (features [N, D] float, labels [N] int)."""
    x, y = torch.from_numpy(train[0]).double(), torch.from_numpy(train[1]).long()
    mean, scale = standardiser(x)
    weight, bias = solve_grid((x - mean) / scale, y, classes, torch.tensor(list(l2_grid), dtype=torch.float64))
    weight = weight / scale  # [G, C, D]: from standardised to raw features
    bias = bias - weight @ mean
    val_x, val_y = torch.from_numpy(val[0]).double(), torch.from_numpy(val[1]).long()
    path = tuple(_step(float(l2), w, b, (x, y), (val_x, val_y)) for l2, w, b in zip(l2_grid, weight, bias, strict=True))
    best = choose(path, len(val_y))
    warmth = temperature(val_x @ weight[best].T + bias[best], val_y)
    return Probe((weight[best] / warmth).float(), (bias[best] / warmth).float(), path[best].l2, path, warmth)


def choose(path: Sequence[ProbeStep], photos: int) -> int:
    """The index of the strength with the most val photos right, where a decade away from the usual strength costs
    half a photo.

    On few val photos most strengths tie; then the usual one is the better guess than the lowest loss, which favours
    weak penalties (benchmarks/l2_choice.py compares the two).
    """
    return max(
        range(len(path)), key=lambda g: path[g].val_accuracy * photos - 0.5 * abs(np.log10(path[g].l2 / USUAL_L2))
    )


def temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The number to divide logits [N, C] by, so that probabilities fit the labels [N]; no answer changes.

    A strong L2 leaves a head that is right but timid. Temperature scaling (Guo et al. 2017, "On calibration of modern
    neural networks"), with a standard normal prior on its logarithm: few val photos, all of them right, would otherwise
    ask for certainty.
    """
    grid = torch.linspace(-4, 4, 401, dtype=torch.float64)
    cost = [F.cross_entropy(logits / t.exp(), labels, reduction="sum") + 0.5 * t * t for t in grid]
    return float(grid[torch.stack(cost).argmin()].exp())


def standardiser(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation per feature [D]; a feature that never varies gets scale 1, so that it stays at
    zero.
    """
    mean, scale = x.mean(0), x.std(0, correction=0)
    return mean, torch.where(scale > 1e-8 * scale.max().clamp_min(1e-30), scale, torch.ones_like(scale))


def _step(
    l2: float, w: torch.Tensor, b: torch.Tensor, train: tuple[torch.Tensor, ...], val: tuple[torch.Tensor, ...]
) -> ProbeStep:
    figures = []
    for x, y in (train, val):
        logits = x @ w.T + b
        figures += [F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()]
    return ProbeStep(l2, *figures)


def solve_grid(
    x: torch.Tensor, y: torch.Tensor, classes: int, l2: torch.Tensor, tolerance: float = 1e-5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimise the regularised loss for each strength.

    Args:
        x: standardised features [N, D], float64. y: labels [N]. l2: strengths [G].
        tolerance: largest entry of the gradient at which a problem counts as solved.

    Returns:
        weight [G, C, D] and bias [G, C].
    """
    axes, spread = principal_axes(x)
    z = torch.cat([x @ axes, x.new_ones(len(x), 1)], 1)  # [N, R + 1]: the last column carries the bias
    curvature = torch.cat([0.5 * spread, spread.new_tensor([0.5])])
    penalty = torch.cat([l2[:, None].expand(-1, len(spread)), l2.new_zeros(len(l2), 1)], 1)[:, :, None]  # [G, R + 1, 1]
    large = z.numel() * len(l2) * classes > LARGE
    objective = _Objective(z.float() if large else z, y, classes, penalty)
    start = z.new_zeros(len(l2), z.shape[1], classes)
    solved = _lbfgs(objective, start, 1.0 / (curvature[None, :, None] + penalty), tolerance)
    return torch.einsum("dr,grc->gcd", axes, solved[:, :-1]), solved[:, -1]


def principal_axes(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes [D, R] that span the rows of x [N, D], and the mean square of x along each [R]; R <= min(N, D)."""
    n, d = x.shape
    if n < d:
        values, vectors = torch.linalg.eigh(x @ x.T)
        keep = values > values.max() * 1e-10
        return x.T @ vectors[:, keep] / values[keep].sqrt(), values[keep] / n
    values, vectors = torch.linalg.eigh(x.T @ x)
    keep = values > values.max() * 1e-10
    return vectors[:, keep], values[keep] / n


class _Objective:
    """Loss and gradient of the problems ``rows`` at once: parameters [G, R + 1, C], float64; products in the type of
    ``z``, a chunk of photos at a time.
    """

    def __init__(self, z: torch.Tensor, y: torch.Tensor, classes: int, penalty: torch.Tensor) -> None:
        self.z, self.y, self.classes, self.penalty = z, y, classes, penalty
        self.slack = 1e-13 if z.dtype == torch.float64 else 1e-7  # what rounding can do to a loss

    def __call__(self, w: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        g, r, c = w.shape
        loss, gradient = w.new_zeros(g), w.new_zeros(r, g * c)
        for z, y, logits in self._chunks(w):
            target = F.one_hot(y, self.classes).to(z.dtype)[:, None]
            log_p = logits.log_softmax(2)
            loss -= (target * log_p).sum((0, 2), dtype=torch.float64)
            gradient += z.T @ (log_p.exp() - target).view(-1, g * c)
        n, penalty = len(self.z), self.penalty[rows]
        return (
            loss / n + 0.5 * (penalty * w * w).sum((1, 2)),
            gradient.view(r, g, c).permute(1, 0, 2) / n + penalty * w,
        )

    def curvature(self, w: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The diagonal of the Hessian [G, R + 1, C]."""
        g, r, c = w.shape
        found = w.new_zeros(r, g * c)
        for z, _, logits in self._chunks(w):
            p = logits.softmax(2)
            found += z.square().T @ (p * (1 - p)).view(-1, g * c)
        return found.view(r, g, c).permute(1, 0, 2) / len(self.z) + self.penalty[rows]

    def _chunks(self, w: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """(z, labels, logits [N, G, C]) of some photos at a time."""
        g, r, c = w.shape
        flat = w.permute(1, 0, 2).reshape(r, g * c).to(self.z.dtype)
        step = max(1, CHUNK_ENTRIES // (g * c))
        for z, y in zip(self.z.split(step), self.y.split(step), strict=True):
            yield z, y, (z @ flat).view(-1, g, c)


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum((1, 2), keepdim=True)


def _lbfgs(
    objective: _Objective, w: torch.Tensor, inverse: torch.Tensor, tolerance: float, memory: int = 10, steps: int = 300
) -> torch.Tensor:
    """G independent minimisations that share their matrix products; one that is solved leaves, the others go on.

    ``inverse``: a first guess of the inverse Hessian's diagonal [G, R + 1, 1], from an upper bound of the Hessian.
    """
    solved, least = w.clone(), 1e-3 / inverse  # where a class is certain its curvature is next to nothing
    rows = torch.arange(len(w))
    loss, gradient = objective(w, rows)
    pairs: list[tuple[torch.Tensor, ...]] = []
    for step in range(steps):
        going = gradient.abs().amax((1, 2)) >= tolerance
        if not bool(going.all()):
            solved[rows] = w
            rows, w, loss, gradient, inverse = rows[going], w[going], loss[going], gradient[going], inverse[going]
            pairs = [tuple(t[going] for t in pair) for pair in pairs]
            if not len(rows):
                break
        if step and step % RENEW == 0:
            inverse = 1.0 / torch.maximum(objective.curvature(w, rows), least[rows])
        direction = -_two_loop(gradient, pairs, inverse)
        new_w, new_loss, new_gradient = _line_search(objective, rows, (w, loss, gradient), direction)
        s, y = new_w - w, new_gradient - gradient
        curvature = _dot(s, y)
        rho = torch.where(
            curvature > 1e-14 * _dot(y, y), 1.0 / curvature.clamp_min(1e-300), torch.zeros_like(curvature)
        )
        pairs = [*pairs, (s, y, rho)][-memory:]
        w, loss, gradient = new_w, new_loss, new_gradient
    solved[rows] = w
    return solved


def _two_loop(gradient: torch.Tensor, pairs: list[tuple[torch.Tensor, ...]], inverse: torch.Tensor) -> torch.Tensor:
    q, alphas = gradient, []
    for s, y, rho in reversed(pairs):
        alpha = rho * _dot(s, q)
        alphas.append(alpha)
        q = q - alpha * y
    r = inverse * q * _scale(pairs, inverse) if pairs else inverse * q
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        r = r + s * (alpha - rho * _dot(y, r))
    return r


def _scale(pairs: list[tuple[torch.Tensor, ...]], inverse: torch.Tensor) -> torch.Tensor:
    """By how much the guess of the inverse Hessian was off along the last step (equation 7.20 there)."""
    s, y, rho = pairs[-1]
    return torch.where(rho > 0, _dot(s, y) / _dot(y, inverse * y).clamp_min(1e-300), torch.ones_like(rho))


def _line_search(
    objective: _Objective,
    rows: torch.Tensor,
    at: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    direction: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A step length per problem, halved until the loss falls enough (Armijo) or no longer can."""
    w, loss, gradient = at
    slope = _dot(gradient, direction)
    step = torch.ones_like(slope)
    for _ in range(20):
        trial = w + step * direction
        new_loss, new_gradient = objective(trial, rows)
        enough = new_loss <= loss + 1e-4 * (step * slope).flatten() + objective.slack
        if bool(enough.all()):
            break
        step = torch.where(enough[:, None, None], step, step * 0.5)
    return trial, new_loss, new_gradient
