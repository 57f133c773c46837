"""The same picture twice: found whatever was done to it, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.scenes import COPIES, Scene
from PIL import Image

from headstart.data.duplicates.fingerprints import Fingerprints, fingerprints
from headstart.data.duplicates.pairs import SPECTRAL, groups_of, near_duplicates
from headstart.data.duplicates.pairs import TURNED as TURNED_LEAST
from headstart.data.duplicates.turned import spectra, turned_alignment
from headstart.data.duplicates.verify import SCALES, alignment, details, too_plain
from headstart.data.images import read_photos
from headstart.data.stratify import groups

PHOTOS = 40
TURNED = {
    "turned": lambda image: image.rotate(25, Image.Resampling.BICUBIC, fillcolor=(255, 255, 255)),
    "turned back": lambda image: image.rotate(-40, Image.Resampling.BICUBIC),
    "quarter": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "flipped": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "stretched": lambda image: image.resize((round(1.5 * image.width), image.height)),
}


def prints_of(folder: Path, images: list[Image.Image]) -> tuple[Fingerprints, list[str | None]]:
    folder.mkdir(exist_ok=True)
    paths = []
    for i, image in enumerate(images):
        paths.append(folder / f"{i:03d}.jpg")
        image.save(paths[-1], quality=90 - i % 30)
    pixels = read_photos(paths, 96)
    return fingerprints(pixels), pixels.digests


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_and_nothing_else(scene: Scene, tmp_path: Path, kind: str) -> None:
    pictures = [scene(i) for i in range(PHOTOS)]
    seen, digests = prints_of(tmp_path / "photos", [*pictures, COPIES[kind](pictures[7])])
    # Features that find the copy, as a network's do where hashes fail.
    features = np.eye(PHOTOS + 1, dtype=np.float32)
    features[PHOTOS, 7] = 2.0
    pairs, likeness = near_duplicates(seen, digests, features)
    assert pairs.tolist() == [[7, PHOTOS]]
    assert 0.7 <= likeness[0] <= 1.0001


@pytest.mark.parametrize("kind", ["again", "resized", "mirrored", "brighter"])
def test_hashes_alone_find_copies_that_are_not_cropped(scene: Scene, tmp_path: Path, kind: str) -> None:
    pictures = [scene(i) for i in range(PHOTOS)]
    pairs, _ = near_duplicates(*prints_of(tmp_path / "photos", [*pictures, COPIES[kind](pictures[7])]))
    assert pairs.tolist() == [[7, PHOTOS]]


@pytest.mark.parametrize(("cosine", "found"), [(None, False), (0.5, False), (0.9, True)])
def test_small_pictures_of_middling_likeness_are_duplicates_where_features_agree(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cosine: float | None, found: bool
) -> None:
    pictures = [scene(i).resize((32, 32)) for i in range(PHOTOS)]
    seen, digests = prints_of(tmp_path / "photos", [*pictures, pictures[7]])
    where = "headstart.data.duplicates.pairs"
    monkeypatch.setattr(f"{where}.alignment", lambda _, pairs: np.where((pairs == [7, PHOTOS]).all(1), 0.75, 0.0))
    monkeypatch.setattr(f"{where}.turned_alignment", lambda thumbs, aspects, pairs: np.zeros(len(pairs)))
    features = None
    if cosine is not None:
        features = np.eye(PHOTOS + 1, dtype=np.float32)
        features[PHOTOS] = 3 * (cosine * features[7] + (1 - cosine**2) ** 0.5 * features[PHOTOS])
    pairs, _ = near_duplicates(seen, digests, features)
    assert pairs.tolist() == ([[7, PHOTOS]] if found else [])


@pytest.mark.parametrize("count", [1, 8, 60])
@pytest.mark.parametrize("kind", TURNED)
def test_a_turned_copy_is_found_without_features(scene: Scene, tmp_path: Path, kind: str, count: int) -> None:
    pictures = [scene(i) for i in range(count)]
    pairs, likeness = near_duplicates(*prints_of(tmp_path / "photos", [*pictures, TURNED[kind](pictures[-1])]))
    assert pairs.tolist() == [[count - 1, count]]
    assert 0.7 <= likeness[0] <= 1.0001


def test_discs_are_circles_of_the_photo(scene: Scene, tmp_path: Path) -> None:
    """In the square thumbnail of a wide photo a turn is none: it shears."""
    wide = scene(0).resize((180, 90))
    seen, _ = prints_of(tmp_path / "photos", [wide, TURNED["turned"](wide)])
    pair = np.array([[0, 1]])
    assert turned_alignment(seen.thumbs, seen.aspects, pair)[0] > TURNED_LEAST
    assert turned_alignment(seen.thumbs, np.ones(2), pair)[0] < TURNED_LEAST


def test_spectra_do_not_change_with_a_turn(scene: Scene, tmp_path: Path) -> None:
    pictures = [scene(i) for i in range(PHOTOS)]
    seen, _ = prints_of(
        tmp_path / "photos", [*pictures, *(TURNED[kind](pictures[3]) for kind in ("turned", "flipped"))]
    )
    rows = spectra(seen.thumbs, seen.aspects)
    like = (rows @ rows[3]).numpy()
    assert set(np.argsort(-like)[:3].tolist()) == {3, PHOTOS, PHOTOS + 1}
    assert np.sort(like)[-3] > SPECTRAL > np.sort(like)[-4] + 0.2


def test_turned_alignment_of_a_flat_picture_is_nothing() -> None:
    flat = np.full((2, 32, 32), 90, np.uint8)
    assert np.abs(turned_alignment(flat, np.ones(2), np.array([[0, 1]]))).max() < 0.1
    assert len(turned_alignment(flat, np.ones(2), np.zeros((0, 2), np.int64))) == 0


def test_small_pictures_are_held_to_more(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.data.duplicates.pairs.alignment", lambda thumbs, pairs: np.full(len(pairs), 0.75))
    monkeypatch.setattr("headstart.data.duplicates.pairs.turned_pairs", lambda *_: np.zeros((0, 2), np.int64))
    for size, found in (((160, 120), 1), ((48, 36), 0)):
        pictures = [scene(i).resize(size) for i in range(PHOTOS)]
        seen, digests = prints_of(tmp_path / str(size[0]), [*pictures, COPIES["brighter"](pictures[7])])
        assert len(near_duplicates(seen, digests)[0]) == found


def test_like_features_alone_make_no_copy(scene: Scene, tmp_path: Path) -> None:
    seen, digests = prints_of(tmp_path / "photos", [scene(i) for i in range(PHOTOS)])
    pairs, _ = near_duplicates(seen, digests, np.ones((PHOTOS, 4), np.float32))
    assert not len(pairs)


def test_plain_drawings_are_not_compared() -> None:
    draw = np.random.default_rng(0)
    digits = np.full((50, 32, 32), 255, np.uint8)
    for digit in digits:  # strokes of about one length and place
        left = 14 + draw.integers(0, 3)
        digit[6:26, left : left + 4] = 0
    assert too_plain(digits)
    seen = Fingerprints(np.zeros((50, 2, 64), bool), digits, np.zeros(50, bool), np.ones(50))
    assert not len(near_duplicates(seen, [str(i) for i in range(50)])[0])


def test_sets_of_hardly_anything_but_copies_are_not_plain(scene: Scene, tmp_path: Path) -> None:
    """One pixel changed in each of many copies of two pictures."""
    images = []
    for i in range(40):
        changed = scene(i % 2)
        changed.putpixel((i, i), (255, 0, 0))
        images.append(changed)
    seen, digests = prints_of(tmp_path / "photos", images)
    assert not too_plain(seen.thumbs)
    assert len(groups_of(40, near_duplicates(seen, digests)[0])) >= 2
    assert all(len({i % 2 for i in group}) == 1 for group in groups_of(40, near_duplicates(seen, digests)[0]))


def test_scenes_are_not_plain(scene: Scene, tmp_path: Path) -> None:
    seen, _ = prints_of(tmp_path / "photos", [scene(i) for i in range(PHOTOS)])
    assert not too_plain(seen.thumbs)


def test_alignment_is_the_best_correlation_over_places(scene: Scene) -> None:
    """Against a plain loop over mirror images, sizes and places, in float64."""
    a, b = (np.asarray(scene(i).convert("L").resize((32, 32), Image.Resampling.BOX)) for i in (3, 4))
    mixed = (0.6 * a[:, ::-1] + 0.4 * b).astype(np.uint8)  # alike enough to be looked at closely
    thumbs = np.stack([a, mixed])
    found = alignment(thumbs, np.array([[0, 1]]))[0]
    assert found == pytest.approx(_by_hand(thumbs), abs=2e-3)
    assert found > 0.5


def _by_hand(thumbs: np.ndarray) -> float:
    first, second = details(torch.from_numpy(thumbs).float()).double()
    best, sides = -1.0, [round(32 * scale) for scale in SCALES]
    for whole, part in ((first, second), (second, first)):
        for turned in (part, part.flip(1)):
            for i, h in enumerate(sides):
                for j, w in enumerate(sides):
                    if abs(i - j) <= 1:
                        best = max(best, _slid(whole, turned, h, w))
    return best


def _slid(whole: torch.Tensor, part: torch.Tensor, h: int, w: int) -> float:
    small = torch.nn.functional.interpolate(part[None, None], size=(h, w), mode="bilinear", antialias=True)[0, 0]
    places = [(y, x) for y in range(33 - h) for x in range(33 - w)]
    windows = [whole[y : y + h, x : x + w].flatten() for y, x in places]
    return max(float(np.corrcoef(window, small.flatten())[0, 1]) for window in windows)


def test_exact_copies_are_groups_of_the_same_bytes() -> None:
    assert groups(["a", "b", None, "a", None, "c", "a"]) == [[0, 3, 6]]


def test_groups_follow_chains() -> None:
    assert groups_of(6, np.array([[0, 3], [3, 5], [1, 2]])) == [[0, 3, 5], [1, 2]]


def test_fingerprints_are_computed_once(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [scene(i) for i in range(4)]
    first, _ = prints_of(tmp_path / "photos", pictures)
    monkeypatch.setattr("headstart.data.duplicates.fingerprints.phash", lambda *_: pytest.fail("they are in the cache"))
    second, _ = prints_of(tmp_path / "photos", pictures)
    assert np.array_equal(first.hashes, second.hashes)
    assert np.array_equal(first.thumbs, second.thumbs)
    assert np.array_equal(first.take([2, 0]).thumbs, first.thumbs[[2, 0]])
