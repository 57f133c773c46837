"""Multinomial logistic regression with L2, for several strengths at once.

``mean cross-entropy + l2/2 * |W|^2`` with a free bias, for as many strengths at once as memory allows: one matrix
product serves all of them. Photos may have weights. Two facts make it fast.

* The solution lies in the span of the training features, so everything is solved in their principal axes (at most
  min(n, d) of them): one eigendecomposition serves every strength.
* In those axes the curvature bound of Boehning (1992, "Multinomial logistic regression algorithm"),
  ``H <= 1/2 X'X/n + l2``, is diagonal: the perfect first guess of the inverse Hessian for L-BFGS (Nocedal and Wright,
  "Numerical Optimization", 2006, algorithm 7.4).

Where classes are separable, and L2 is weak, the bound is far too large. So it is scaled by the last step, and replaced
by the Hessian's own diagonal every few steps: on features of photos this saves five of six steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from headstart.core import large_arrays

LARGE = 1e8
"""Photos x features x strengths x classes from which products are taken in float32: half the time and memory, and an
error far below the tolerance (on small sets float64 costs nothing)."""
CHUNK_ENTRIES = 2**25  # logits, or features, held at a time, so that memory does not grow with the photos
GROUP_ENTRIES = 2**22
"""Weights (strengths x dimensions x classes) solved at once: L-BFGS keeps two dozen copies of them."""
SHARE = 0.5
"""Of the free memory of a GPU: what the features may take."""
CPU = torch.device("cpu")
STEP = 4096  # photos whose squares are held at a time
RENEW = 5  # steps after which the Hessian's diagonal is computed anew, which costs half a step
Solution = tuple[float, torch.Tensor, torch.Tensor]
"""A strength, its weight [C, D] and its bias [C], for standardised features, float64."""


def precise_enough(entries: int, strengths: int, classes: int) -> torch.dtype:
    """The type that products are taken in; ``entries``: photos x features."""
    return torch.float32 if entries * strengths * classes > LARGE else torch.float64


class Rows:
    """Features [N, D], standardised a chunk at a time, so that there is no copy of them. ``mean`` and ``scale`` [D]
    are their own, or those of the rows that they are to be ``like``; ``scales`` [D]: the deviation that each feature is
    to have instead of 1, so that L2 restrains some more than others.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        x: torch.Tensor,
        dtype: torch.dtype = torch.float64,
        like: Rows | None = None,
        scales: np.ndarray | None = None,
    ) -> None:
        self.x, self.dtype = x, dtype
        self.mean, self.scale = standardiser(x) if like is None else (like.mean, like.scale)
        if scales is not None:
            self.scale = self.scale / torch.from_numpy(scales)

    def __len__(self) -> int:
        return len(self.x)

    def chunks(self) -> Iterator[torch.Tensor]:
        for part in _split(self.x):
            yield ((part.double() - self.mean) / self.scale).to(self.dtype)

    def logits(self, weight: torch.Tensor, bias: torch.Tensor) -> Iterator[torch.Tensor]:
        """Chunks of [N, C] for ``weight`` [C, D] and ``bias`` [C]."""
        weight, bias = weight.to(self.dtype), bias.to(self.dtype)
        return (part @ weight.T + bias for part in self.chunks())


def standardiser(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation per feature [D], float64; a feature that never varies gets scale 1, so that it stays
    at zero.
    """
    none = torch.zeros(x.shape[1], dtype=torch.float64)
    mean = sum((part.double().sum(0) for part in _split(x)), none) / len(x)
    scale = (sum(((part.double() - mean).square().sum(0) for part in _split(x)), none) / len(x)).sqrt()
    return mean, torch.where(scale > 1e-8 * scale.max().clamp_min(1e-30), scale, torch.ones_like(scale))


def _split(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.split(x, max(1, CHUNK_ENTRIES // (4 * x.shape[1])))


def solve(
    rows: Rows,
    y: torch.Tensor,
    classes: int,
    strengths: Sequence[float],
    tolerance: float = 1e-5,
    weights: torch.Tensor | None = None,
    device: torch.device = CPU,
) -> Iterator[list[Solution]]:
    """Minimise the regularised loss of features [N, D] with labels ``y`` [N], for as many strengths of L2 at once as
    fit into memory, then for the next ones, which start from the last solution: strengths go from strong to weak.
    ``tolerance``: largest entry of the gradient at which a problem counts as solved; ``weights``: of each photo [N], 1
    on average. Yields the solutions of the strengths that were solved together.

    With targets ``y`` [N, C] of 0 and 1, each of the C labels is a problem of its own: its mean binary cross-entropy
    and its L2; ``weights`` are then of each photo and label [N, C].

    ``device``: where the products are taken, if its memory holds the features; solutions are on the CPU.
    """
    several = y.ndim == 2
    axes, spread = principal_axes(rows)
    z = _in_axes(rows, axes, device)
    y, spread = y.to(z.device), spread.to(z.device)
    weights = weights if weights is None else weights.to(z.device)
    if several:  # of a sigmoid the bound is 1/4, times the largest weight
        spread = 0.5 * spread * (1.0 if weights is None else float(weights.max()))
    elif weights is not None:  # the diagonal of Boehning's bound under weights; it is no longer all of it
        spread = sum(
            (
                w.double() @ part.double().square()
                for w, part in zip(weights.split(STEP), z[:, :-1].split(STEP), strict=True)
            ),
            torch.zeros_like(spread),
        ) / len(rows)
    curvature = torch.cat([0.5 * spread, spread.new_tensor([0.5])])
    start = spread.new_zeros(1, len(curvature), classes)
    together = max(1, GROUP_ENTRIES // start.numel())
    for first in range(0, len(strengths), together):
        l2 = torch.tensor(strengths[first : first + together], dtype=torch.float64, device=z.device)
        penalty = torch.cat([l2[:, None].expand(-1, len(spread)), l2.new_zeros(len(l2), 1)], 1)[:, :, None]
        objective = (_Labels if several else _Objective)(z, y, penalty, weights)  # penalty [G, R + 1, 1]
        inverse = 1.0 / (curvature[None, :, None] + penalty)
        solved = _lbfgs(objective, start.repeat(len(l2), 1, 1), inverse, tolerance)
        start = solved[-1:]
        yield [(strength, (axes @ w[:-1]).T, w[-1]) for strength, w in zip(l2.tolist(), solved.cpu(), strict=True)]


def _in_axes(rows: Rows, axes: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The rows in their principal axes, [N, R + 1]: the last column, of ones, is for the bias."""
    shape, narrow = (len(rows), axes.shape[1] + 1), axes.to(rows.dtype)
    if device.type == "cuda" and math.prod(shape) * narrow.element_size() < SHARE * torch.cuda.mem_get_info(device)[0]:
        z, narrow = torch.empty(shape, dtype=rows.dtype, device=device), narrow.to(device)
    else:
        z = torch.from_numpy(large_arrays.empty(shape, np.float32 if rows.dtype == torch.float32 else np.float64))
    z[:, -1], first = 1.0, 0
    for part in rows.chunks():
        torch.matmul(part.to(z.device), narrow, out=z[first : first + len(part), :-1])
        first += len(part)
    return z


def principal_axes(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes [D, R] that span the rows [N, D], and their mean square along each [R]; R <= min(N, D). float64."""
    n, d = rows.x.shape
    if n < d:
        x = torch.cat(list(rows.chunks())).double()
        gram = x @ x.T
    else:
        gram = torch.zeros(d, d, dtype=torch.float64)
        for part in rows.chunks():
            gram += part.T @ part
    values, vectors = torch.linalg.eigh(gram)
    keep = values > values.max() * 1e-10
    values, vectors = values[keep], vectors[:, keep]
    return x.T @ vectors / values.sqrt() if n < d else vectors, values / n


class _Objective:
    """Loss and gradient of the problems ``rows`` at once: parameters [G, R + 1, C], float64; products in the type of
    ``z``, a chunk of photos at a time.
    """

    def __init__(
        self, z: torch.Tensor, y: torch.Tensor, penalty: torch.Tensor, weights: torch.Tensor | None = None
    ) -> None:
        self.z, self.y, self.penalty = z, y, penalty
        every = torch.ones(len(y), dtype=z.dtype, device=z.device) if weights is None else weights.to(z.dtype)
        self.weights = every[:, None] if every.ndim == 1 else every  # [N, 1], or [N, C]
        self.slack = 1e-13 if z.dtype == torch.float64 else 1e-7  # what rounding can do to a loss

    def __call__(self, w: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        g, r, c = w.shape
        loss, gradient = w.new_zeros(g), w.new_zeros(r, g * c)
        for z, y, weights, logits in self._chunks(w):
            log_p = logits.log_softmax(2)
            wanted = y[:, None, None].expand(-1, g, 1)
            loss -= (log_p.gather(2, wanted) * weights).sum((0, 2), dtype=torch.float64)
            error = log_p.exp().scatter_add_(2, wanted, log_p.new_full((1, 1, 1), -1.0).expand(len(y), g, 1))
            gradient += z.T @ error.mul_(weights).view(-1, g * c)
        n, penalty = len(self.z), self.penalty[rows]
        gradient = gradient.view(r, g, c).permute(1, 0, 2) / n + penalty * w
        return loss / n + 0.5 * (penalty * w * w).sum((1, 2)), gradient

    def curvature(self, w: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The diagonal of the Hessian [G, R + 1, C]."""
        g, r, c = w.shape
        found = w.new_zeros(r, g * c)
        for z, _, weights, logits in self._chunks(w):
            p = self.probabilities(logits)
            found += z.square().T @ (p * (1 - p) * weights).view(-1, g * c)
        return found.view(r, g, c).permute(1, 0, 2) / len(self.z) + self.penalty[rows]

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Of logits [N, G, C]."""
        return logits.softmax(2)

    def _chunks(self, w: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """(z, labels, weights [N, 1, 1 or C], logits [N, G, C]) of some photos at a time."""
        g, r, c = w.shape
        flat = w.permute(1, 0, 2).reshape(r, g * c).to(self.z.dtype)
        step = max(1, CHUNK_ENTRIES // max(r, g * c))
        parts = (self.z.split(step), self.y.split(step), self.weights.split(step))
        for z, y, weights in zip(*parts, strict=True):
            yield z, y, weights[:, None], (z @ flat).view(-1, g, c)


class _Labels(_Objective):
    """The same for targets ``y`` [N, C] of 0 and 1: the loss is the sum over labels."""

    def __call__(self, w: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        g, r, c = w.shape
        loss, gradient = w.new_zeros(g), w.new_zeros(r, g * c)
        for z, y, weights, logits in self._chunks(w):
            wanted = y[:, None].to(logits.dtype)
            loss += ((F.softplus(logits) - wanted * logits) * weights).sum((0, 2), dtype=torch.float64)
            gradient += z.T @ ((logits.sigmoid() - wanted) * weights).reshape(-1, g * c)
        n, penalty = len(self.z), self.penalty[rows]
        gradient = gradient.view(r, g, c).permute(1, 0, 2) / n + penalty * w
        return loss / n + 0.5 * (penalty * w * w).sum((1, 2)), gradient

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid()


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum((1, 2), keepdim=True)


def _lbfgs(
    objective: _Objective, w: torch.Tensor, inverse: torch.Tensor, tolerance: float, memory: int = 10, steps: int = 300
) -> torch.Tensor:
    """G independent minimisations that share their matrix products; those that are solved drop out.

    ``inverse``: a first guess of the inverse Hessian's diagonal [G, R + 1, 1], from an upper bound of the Hessian.
    """
    solved, least = w.clone(), 1e-3 / inverse  # where a class is certain its curvature is next to nothing
    rows = torch.arange(len(w), device=w.device)
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
        bent = _dot(s, y)
        rho = torch.where(bent > 1e-14 * _dot(y, y), 1.0 / bent.clamp_min(1e-300), torch.zeros_like(bent))
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
    r = inverse * q
    if pairs:  # by how much the guess of the inverse Hessian was off along the last step (equation 7.20 there)
        s, y, rho = pairs[-1]
        r = r * torch.where(rho > 0, _dot(s, y) / _dot(y, inverse * y).clamp_min(1e-300), torch.ones_like(rho))
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        r = r + s * (alpha - rho * _dot(y, r))
    return r


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
