"""Find copies that were turned by any angle or flipped.

In polar coordinates about the middle of a photo a turn is a shift, and a flip reverses the angle (Reddy & Chatterji
1996, "An FFT-based technique for translation, rotation, and scale-invariant image registration"; here without scale).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from headstart.core import large_arrays
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
    with one_thread():
        images = torch.from_numpy(thumbs).float()
        images = (details(images) if fine else images)[:, None]
        return F.grid_sample(images, circles * squeeze[:, None, None], padding_mode="border", align_corners=False)[:, 0]


def spectra(thumbs: np.ndarray, aspects: np.ndarray) -> torch.Tensor:
    """A row of length one for each photo [N, D], less the mean of all: the amplitudes of its circles' frequencies,
    which no turn and no flip changes.
    """
    rows = torch.from_numpy(large_arrays.empty((len(thumbs), len(RADII) * FREQUENCIES), np.float32))
    for start in range(0, len(thumbs), CHUNK):
        rings = discs(thumbs[start : start + CHUNK], aspects[start : start + CHUNK], False)
        amplitudes = torch.fft.rfft(rings, dim=2).abs()[:, :, 1 : FREQUENCIES + 1]
        rows[start : start + CHUNK] = F.normalize((amplitudes * RADII[:, None]).sqrt().flatten(1))
    rows -= rows.mean(0)
    return F.normalize(rows, out=rows)


def turned_alignment(thumbs: np.ndarray, aspects: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The correlation [P] of the details of pairs [P, 2] at the best turn, flipped or not, from -1 to 1."""
    area = RADII.square()[:, None] / (RADII.square().sum() * ANGLES)
    found = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), CHUNK):
        seen, where = np.unique(pairs[start : start + CHUNK], return_inverse=True)
        rings = discs(thumbs[seen], aspects[seen], True)
        rings -= (rings * area).sum((1, 2), keepdim=True)
        rings /= (rings.square() * area).sum((1, 2), keepdim=True).sqrt().clamp_min(0.5)  # gray levels; flat is flat
        part = where.reshape(-1, 2)
        one, other = torch.fft.rfft(rings[part[:, 0]] * area), torch.fft.rfft(rings[part[:, 1]])
        # The conjugate of a real signal's spectrum is that of the reversed signal: a flip.
        both = torch.stack([(one * other.conj()).sum(1), (one * other).sum(1)])
        found[start : start + CHUNK] = torch.fft.irfft(both, n=ANGLES).amax((0, 2)).numpy()
    return found
