"""The sample grid of a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.core.events import Events
from headstart.data.loading import find_photos, read
from headstart.reporting import samples
from headstart.reporting.samples import sample_rows, samples_by_class


@pytest.mark.parametrize(("per_class", "shown"), [(1, 1), (2, 2), (3, 3), (4, 4), (9, 4)])
def test_a_photo_is_shown_once(class_folder: Callable[..., Path], per_class: int, shown: int) -> None:
    photos = read(find_photos(str(class_folder(per_class=per_class)), Events()), 32, "bilinear", "fail", Events())
    found = samples_by_class(photos)
    for own in found.values():
        assert len({one.tobytes() for one in own}) == len(own) == shown


def test_classes_that_are_not_shown_are_counted(
    class_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = read(find_photos(str(class_folder(per_class=2)), Events()), 32, "bilinear", "fail", Events())
    classes = len(samples_by_class(photos))
    monkeypatch.setattr(samples, "SHOWN", 2)
    grid = sample_rows(samples_by_class(photos), {})
    assert grid is not None
    assert (len(grid["rows"]), grid["left_out"]) == (2, classes - 2)
