"""Each row's nearest others: of few rows all are compared, of many those of the nearest cells.

The cells are those of k-means, and each row is compared with the members of the few cells that are nearest to it: an
inverted file (Sivic & Zisserman 2003, "Video Google: a text retrieval approach to object matching in videos"; Jégou,
Douze & Schmid 2011, "Product quantization for nearest neighbor search", section 4). The time grows as N^1.5 and not as
N^2. Some neighbours at the edges of cells are missed; hardly any that are near (docs/guides/shards.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

NEAREST = 5
"""Neighbours of each row that count."""
EXACT = 65_536
"""Rows up to which all are compared: a minute on two cores."""
PROBED, AT_ONCE = 32, 8
"""Cells whose members are compared with a row; and how many of them are sorted at a time, which takes memory."""
ROUNDS = 8
"""Of k-means."""
SAMPLED = 64
"""Rows per cell that k-means sees."""
CHUNK = 1024


Form = Callable[[torch.Tensor], torch.Tensor]
"""Rows of length one [n, D], float32, from rows as they are kept."""


def nearest_pairs(
    rows: torch.Tensor, least: float, mirrored: torch.Tensor | None = None, form: Form = torch.Tensor.float
) -> np.ndarray:
    """Pairs (i < j) [P, 2] of rows [N, D], sorted: each row and its ``NEAREST`` others, as far as their cosine
    similarity reaches ``least``. ``mirrored`` [N, D]: another form of each row; the more similar one counts. ``form``
    is applied to some rows at a time, so that many can be kept as bits. They are compared on the device that they are
    on.
    """
    count, device = len(rows), rows.device
    best = torch.full((count, NEAREST), -torch.inf, device=device)
    found = torch.full((count, NEAREST), -1, device=device)
    for asking, members in [_everything(rows)] if count <= EXACT else _cells(rows, mirrored, form):
        forms = [form(one[members]).T for one in (rows, mirrored) if one is not None]
        for part in asking.split(CHUNK):
            values, others = _best(form(rows[part]), forms, part, members)
            others[(others[:, :, None] == found[part][:, None]).any(2)] = -1  # seen in another cell
            values[others < 0] = -torch.inf
            both = torch.cat([best[part], values], 1)
            best[part], chosen = both.topk(NEAREST, dim=1)
            found[part] = torch.cat([found[part], others], 1).gather(1, chosen)
    row, place = torch.nonzero(best >= least, as_tuple=True)
    pairs = torch.stack([row, found[row, place]], 1).sort(1).values.cpu().numpy()
    codes = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack([codes // count, codes % count], 1) if count else np.zeros((0, 2), np.int64)


def _everything(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    every = torch.arange(len(rows), device=rows.device)
    return every, every


def _best(
    rows: torch.Tensor, forms: list[torch.Tensor], own: torch.Tensor, members: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The similarity and the number of the nearest ``members`` (sorted) [B, k] of rows whose numbers are ``own``."""
    alike = rows @ forms[0]
    for form in forms[1:]:
        torch.maximum(alike, rows @ form, out=alike)
    where = torch.searchsorted(members, own).clamp_max(len(members) - 1)
    itself = torch.nonzero(members[where] == own)[:, 0]
    alike[itself, where[itself]] = -torch.inf
    values, places = alike.topk(min(NEAREST, len(members)), dim=1)
    return values, members[places]


def _cells(
    rows: torch.Tensor, mirrored: torch.Tensor | None, form: Form
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each cell, ``PROBED / AT_ONCE`` times: the rows that ask it, and its members, sorted. A row whose other form
    lies in another cell is a member of both.
    """
    centres = k_means(rows, round(2 * len(rows) ** 0.5), form)
    near = _nearest_cells(rows, centres, PROBED, form)
    homes = [near[:, :1], *([_nearest_cells(mirrored, centres, 1, form)] if mirrored is not None else [])]
    owned = [_inverted(home, len(centres)) for home in homes]
    for some in near.split(AT_ONCE, dim=1):
        for cell, asking in enumerate(_inverted(some, len(centres))):
            members = torch.unique(torch.cat([own[cell] for own in owned]))
            if len(asking) and len(members):
                yield asking, members


def _nearest_cells(rows: torch.Tensor, centres: torch.Tensor, count: int, form: Form) -> torch.Tensor:
    """The numbers of the cells [N, count], int32, that are nearest to each row."""
    found = torch.empty(len(rows), min(count, len(centres)), dtype=torch.int32, device=rows.device)
    for part, to in zip(rows.split(CHUNK), found.split(CHUNK), strict=True):
        to.copy_((form(part) @ centres.T).topk(found.shape[1], dim=1).indices)
    return found


def _inverted(cells: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    """For each of ``count`` cells, the rows [N, k] that name it."""
    flat = cells.flatten()
    order = torch.argsort(flat, stable=True)
    lengths = torch.bincount(flat, minlength=count)
    return torch.tensor_split(order // cells.shape[1], lengths.cumsum(0)[:-1].cpu())


def k_means(rows: torch.Tensor, count: int, form: Form = torch.Tensor.float, seed: int = 0) -> torch.Tensor:
    """The centres, of length one, [count, D] of cells of a sample of rows [N, D] (spherical k-means, Dhillon & Modha
    2001, "Concept decompositions for large sparse text data using clustering"). A cell that loses its members keeps its
    centre.
    """
    drawn = np.random.default_rng(seed).permutation(len(rows))[: count * SAMPLED]
    sample = form(rows[torch.from_numpy(np.sort(drawn)).to(rows.device)])
    centres = sample[:: max(1, len(sample) // count)][:count].clone()
    for _ in range(ROUNDS):
        home = _nearest_cells(sample, centres, 1, torch.Tensor.float)[:, 0]
        sums = torch.zeros_like(centres).index_add_(0, home, sample)
        kept = torch.bincount(home, minlength=len(centres)) > 0
        centres[kept] = torch.nn.functional.normalize(sums[kept])
    return centres
