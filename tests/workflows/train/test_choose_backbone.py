"""``backbone="auto"``: which network is taken, and what is said about it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.core.events import Events, Message
from headstart.errors import OptionError
from headstart.models.providers import resolve
from headstart.training.config import TrainOptions
from headstart.workflows.recommend.candidates import Candidate
from headstart.workflows.recommend.recommend import Ranking, Recommendation
from headstart.workflows.train import choose_backbone
from headstart.workflows.train.choose_backbone import with_backbone


def chosen(options: TrainOptions) -> tuple[TrainOptions, str]:
    said: list[str] = []
    found = with_backbone(options, Events(lambda e: said.append(e.text) if isinstance(e, Message) else None))
    return found, " ".join(said)


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``at_hand("resnet18", …)``: these alone are on this machine."""

    def only(*names: str) -> None:
        monkeypatch.setattr(choose_backbone, "_at_hand", lambda name: name in names)

    return only


def test_another_name_is_left_alone(at_hand: Any) -> None:
    at_hand()
    options = TrainOptions("photos", backbone="resnet50")
    assert chosen(options) == (options, "")


@pytest.mark.parametrize("names", [(), ("starter",)])
def test_without_weights_on_this_machine_it_is_the_default(at_hand: Any, names: tuple[str, ...]) -> None:
    at_hand(*names)
    found, said = chosen(TrainOptions("photos", backbone="auto"))
    assert found.backbone == "resnet18"
    assert "resnet18" in said


def test_one_that_is_at_hand_needs_no_photos(at_hand: Any) -> None:
    at_hand("resnet50")
    found, said = chosen(TrainOptions("no such folder", backbone="auto"))
    assert found.backbone == "resnet50"
    assert "the only one whose weights are on this machine" in said


def test_several_are_ranked_on_the_photos(at_hand: Any, monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    at_hand("resnet18", "resnet50", "starter")
    asked: list[tuple[TrainOptions, float | None, list[Candidate]]] = []

    def run(self: Ranking, tried: list[Candidate]) -> Recommendation:
        asked.append((self.options, self.budget.seconds, tried))
        return Recommendation((), (), (), "resnet50 suits them.", "", {}, {"backbone": "resnet50"})

    monkeypatch.setattr(Ranking, "run", run)
    settings = {"image_size": 64, "budget_minutes": 2, "epochs": 3}
    options = TrainOptions(str(photos), backbone="auto", seed=7, on_bad="fail", settings=settings)
    found, said = chosen(options)
    assert found.backbone == "resnet50"
    assert found.settings == settings
    assert "Backbone: resnet50 suits them." in said
    ((ranked, seconds, tried),) = asked
    assert (ranked.seed, ranked.on_bad, ranked.settings, seconds) == (7, "fail", {"image_size": 64}, 120)
    assert {one.backbone for one in tried} == {"resnet18", "resnet50", "starter"}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Ranking]:
    """The rankings that were made, which choose starter."""
    made: list[Ranking] = []

    def run(self: Ranking, tried: list[Candidate]) -> Recommendation:
        made.append(self)
        return Recommendation((), (), (), "starter suits them.", "", {}, {"backbone": "starter"})

    monkeypatch.setattr(Ranking, "run", run)
    return made


def paths(photos: Sequence[Any]) -> set[str]:
    return {str(photo.path) for photo in photos}


def test_no_test_photo_has_a_part_in_the_choice(
    at_hand: Any, seen: list[Ranking], photos: Path, tmp_path: Path
) -> None:
    at_hand("starter", "resnet18")
    run = hs.train(photos, out=tmp_path / "run", backbone="auto", strategy="probe", seed=5, quiet=True)
    rows = list(csv.DictReader((run.path / "splits.csv").open(encoding="utf-8")))
    names = {split: {row["path"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    used = {os.path.relpath(path, photos) for path in paths(seen[0].sample.photos)}
    assert names["test"]
    assert used == names["train"] | names["val"]


def test_with_few_shots_it_is_chosen_by_those(at_hand: Any, seen: list[Ranking], photos: Path) -> None:
    at_hand("starter", "resnet18")
    chosen(TrainOptions(str(photos), backbone="auto", shots=2))
    counts = Counter(photo.label for photo in seen[0].sample.photos)
    assert set(counts.values()) <= {3, 4}  # two for training, at most two for validation


def test_with_one_photo_of_a_class_it_is_the_default(
    at_hand: Any, seen: list[Ranking], photos: Path, tmp_path: Path
) -> None:
    at_hand("starter", "resnet18")
    one, other = (sorted(folder.iterdir()) for folder in sorted(photos.iterdir())[:2])
    rows = [(one[0], "one", "train"), (other[0], "two", "train"), (other[1], "two", "train"), (other[2], "two", "val")]
    table = tmp_path / "photos.csv"
    table.write_text("path,label,split\n" + "".join(f"{path},{label},{split}\n" for path, label, split in rows))
    found, said = chosen(TrainOptions(str(table), backbone="auto"))
    assert found.backbone == "resnet18"
    assert "two training photos of each class" in said
    assert not seen


def test_with_folds_all_photos_decide(at_hand: Any, seen: list[Ranking], photos: Path) -> None:
    at_hand("starter", "resnet18")
    chosen(TrainOptions(str(photos), backbone="auto", folds=3, strategy="probe"))
    assert len(seen[0].sample.photos) == len(seen[0].everything.photos)


@pytest.mark.parametrize("more", [{"weights": "a.pth"}, {"cut": "layer3"}, {"mean": (0.5, 0.5, 0.5)}])
def test_what_belongs_to_one_network_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"`backbone='auto'` chooses the network"):
        chosen(TrainOptions("photos", backbone="auto", **more))


def test_a_run_holds_the_network_that_was_chosen(
    at_hand: Any, monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    at_hand("starter", "resnet18")
    found = Recommendation((), (), (), "starter suits them.", "", {}, {"backbone": "starter"})
    monkeypatch.setattr(Ranking, "run", lambda self, tried: found)
    run = hs.train(photos, out=tmp_path / "run", backbone="auto", strategy="probe", quiet=True)
    assert run.classifier.network.backbone.name == "starter"
    assert hs.resume(run.path).path == run.path


def test_other_commands_say_that_it_is_for_train() -> None:
    with pytest.raises(OptionError, match="for `train` alone"):
        resolve("auto")
