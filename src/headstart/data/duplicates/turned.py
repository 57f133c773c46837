"""Find copies that were turned by any angle or flipped.

In polar coordinates about the middle of a photo a turn is a shift, and a flip reverses the angle (Reddy & Chatterji
1996, "An FFT-based technique for translation, rotation, and scale-invariant image registration"; here without scale).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from headstart.data.duplicates.verify import details, one_thread

ANGLES = 64
RADII = torch.logspace(np.log10(0.22), np.log10(0.97), 14)
"""Of the circles, as parts of half the short side: inside the disc, and outside the middle, where pixels repeat."""
FREQUENCIES = 8
"""Of each circle, in the spectra."""
CHUNK = 1024


def discs(thumbs: np.ndarray, aspects: np.ndarray, fine: bool) -> torch.Tensor:
    """Gray levels, or their details if ``fine``, on the circles [N, R, A] of thumbnails uint8 [N, S, S] of photos whose
    width over height is ``aspects`` [N]: circles of the photo are ellipses of its square thumbnail.
    """
    angle = torch.arange(ANGLES) * (2 * np.pi / ANGLES)
    circles = torch.stack([angle.cos(), angle.sin()], 1) * RADII[:, None, None]
    wide = torch.from_numpy(np.asarray(aspects, np.float32))
    squeeze = torch.stack([1 / wide.clamp_min(1), wide.clamp_max(1)], 1)
    found = []
    with one_thread():
        for start in range(0, len(thumbs), CHUNK):
            part = torch.from_numpy(thumbs[start : start + CHUNK]).float()
            grid = circles * squeeze[start : start + CHUNK, None, None]
            image = (details(part) if fine else part)[:, None]
            found.append(F.grid_sample(image, grid, padding_mode="border", align_corners=False)[:, 0])
    return torch.cat(found)


def spectra(thumbs: np.ndarray, aspects: np.ndarray) -> torch.Tensor:
    """A row of length one for each photo [N, D], less the mean of all: the amplitudes of its circles' frequencies,
    which no turn and no flip changes.
    """
    amplitudes = torch.fft.rfft(discs(thumbs, aspects, False), dim=2).abs()[:, :, 1 : FREQUENCIES + 1]
    rows = F.normalize((amplitudes * RADII[:, None]).sqrt().flatten(1))
    return F.normalize(rows - rows.mean(0))


def turned_alignment(thumbs: np.ndarray, aspects: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The correlation [P] of the details of pairs [P, 2] at the best turn, flipped or not, from -1 to 1."""
    if not len(pairs):
        return np.zeros(0, np.float32)
    seen, where = np.unique(pairs, return_inverse=True)
    rings = discs(thumbs[seen], aspects[seen], True)
    area = RADII.square()[:, None] / (RADII.square().sum() * ANGLES)
    rings = rings - (rings * area).sum((1, 2), keepdim=True)
    rings = rings / (rings.square() * area).sum((1, 2), keepdim=True).sqrt().clamp_min(0.5)  # gray levels; flat is flat
    found = []
    for part in np.split(where.reshape(-1, 2), range(CHUNK, len(pairs), CHUNK)):
        one, other = torch.fft.rfft(rings[part[:, 0]] * area), torch.fft.rfft(rings[part[:, 1]])
        # The conjugate of a real signal's spectrum is that of the reversed signal: a flip.
        both = torch.stack([(one * other.conj()).sum(1), (one * other).sum(1)])
        found.append(torch.fft.irfft(both, n=ANGLES).amax((0, 2)))
    return torch.cat(found).numpy()
