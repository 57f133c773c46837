"""``forecast`` on drawn photos: the command line, the page, what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.core.events import Events
from headstart.errors import DataError, OptionError, RunError


@pytest.fixture(scope="module")
def found(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("forecast")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(place / "cache"))
        return hs.forecast(
            photos, more=(12, 36), target=0.999, out=place / "new", backbone="starter", weights=weights, quiet=True
        )


def test_bands_from_now_to_the_most_that_was_asked(found: Any) -> None:
    assert found.counts == {"cat": 12, "dog": 12, "owl": 12}
    assert [band.photos for band in (found.now, *found.ahead)] == [36, 72, 144]
    assert all(band.low <= band.value <= band.high for band in (found.now, *found.ahead))
    assert found.measured.sizes[-1] < 36
    assert found.answer.startswith("With 12 more per class expect ")
    assert any("36 photos say little" in note for note in found.notes)


def test_a_notebook_shows_it(found: Any) -> None:
    pytest.importorskip("pandas")
    table = found.frame()
    assert list(table.kind) == ["measured"] * len(found.measured.sizes) + ["now", "forecast", "forecast"]
    assert list(table.photos[-3:]) == [36, 72, 144]
    assert list(table.accuracy[-3:]) == pytest.approx([b.value for b in (found.now, *found.ahead)], abs=1e-5)
    html = found._repr_html_()
    assert found.answer in html
    assert "+36 per class" in html
    axes = found.figure().axes[0]
    assert axes.get_xscale() == "log"
    assert list(axes.lines[1].get_xdata()) == list(found.measured.sizes)


def test_the_page_is_one_file_with_curve_and_figures(found: Any) -> None:
    assert found.page.name == "forecast.html"
    page = found.page.read_text(encoding="utf-8")
    assert found.answer.replace("–", "–\u2060") in page
    assert page.count("<svg") == 1
    assert "target 0.999" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "+36 per class" in page
    assert "headstart forecast" in page
    assert "--more 12,36 --target 0.999" in page


@pytest.mark.slow
def test_the_command_line(
    cli: Callable[..., Any], photos: Path, starter: tuple[str, ...], tmp_path: Path, found: Any
) -> None:
    asked = ("forecast", photos, *starter, "--more", "12,36", "--target", 0.999)
    answer = cli(*asked, "--json", "--out", tmp_path / "page.html")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert said["photos"] == 36
    assert [row["more_per_class"] for row in said["ahead"]] == [12, 36]
    assert said["target"]["accuracy"] == 0.999
    assert said["page"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").exists()
    text = cli(*asked, "--quiet").out
    assert "+12 per class" in text
    assert said["answer"] in text  # the same seed, the same words
    assert "Page:" not in text


def test_an_existing_page_is_not_overwritten_unasked(
    cli: Callable[..., Any], photos: Path, starter: tuple[str, ...], tmp_path: Path, refused: Callable[..., None]
) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine", encoding="utf-8")
    refused(cli("forecast", photos, *starter, "--out", page), "exists", "--overwrite")
    assert page.read_text(encoding="utf-8") == "mine"
    assert cli("forecast", photos, *starter, "--out", page, "--overwrite").code == 0
    assert "<svg" in page.read_text(encoding="utf-8")
    (tmp_path / "notes.txt").touch()
    refused(cli("forecast", photos, *starter, "--out", tmp_path / "notes.txt"), "is a file, and not an .html")
    (tmp_path / "folder.html").mkdir()
    refused(cli("forecast", photos, *starter, "--out", tmp_path / "folder.html"), "is a folder")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--more", "1,x"), "'x' is not a whole number"),
        (("--more", "-3"), "not a whole number"),
        (("--more", "0"), "at least 1"),
        (("--more", "5000"), "more than 100 times"),
        (("--target", "95"), "below 1"),
        (("--level", "0.3"), "from 0.5"),
        (("--set", "depth=3"), "unknown setting"),
    ],
    ids=["letters", "negative", "none", "far", "percent", "level", "setting"],
)
def test_what_has_no_meaning_is_refused(
    cli: Callable[..., Any], photos: Path, starter: tuple[str, ...], refused: Callable[..., None],
    words: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    refused(cli("forecast", photos, *starter, *words), said)


def test_options_that_mean_nothing_here_are_refused(photos: Path) -> None:
    with pytest.raises(OptionError, match="forecast takes no option 'shots'"):
        hs.forecast(photos, shots=5)


def test_classes_with_too_few_photos_are_named(
    class_folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    folder = class_folder(per_class=6)
    for i in range(3):  # copies count once
        shutil.copy(folder / "dog" / "dog_000.png", folder / "dog" / f"again_{i}.png")
    for name in ("dog_001.png", "dog_002.png", "dog_003.png"):
        (folder / "dog" / name).unlink()
    with pytest.raises(DataError, match=r"at least 4 photos of every class.*'dog' has 3\."):
        hs.forecast(folder, backbone="starter", weights=weights, quiet=True)


def test_four_photos_of_a_class_will_do(class_folder: Callable[..., Path], weights: Path) -> None:
    found = hs.forecast(class_folder(per_class=4), backbone="starter", weights=weights, quiet=True)
    assert found.now.high - found.now.low > 0.15
    assert any("say little" in note for note in found.notes)


def test_uneven_classes_grow_together(class_folder: Callable[..., Path], weights: Path) -> None:
    folder = class_folder(per_class=16)
    for i in range(11):
        (folder / "dog" / f"dog_{i:03d}.png").unlink()
    found = hs.forecast(folder, more=(21,), backbone="starter", weights=weights, quiet=True)
    assert found.counts == {"cat": 16, "dog": 5}
    assert found.answer.startswith("With 3 times as many photos of every class (21 more per class on average)")
    assert found.ahead[0].photos == 63


def test_test_photos_are_left_alone(class_folder: Callable[..., Path], weights: Path) -> None:
    folder = class_folder(per_class=5, splits=("train", "val", "test"))
    found = hs.forecast(folder, backbone="starter", weights=weights, quiet=True)
    assert found.counts == {"cat": 10, "dog": 10}


def test_a_run_is_forecast_from_its_own_photos(probe_run: Path, cli: Callable[..., Any]) -> None:
    answer = cli("forecast", probe_run, "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    counts = [sum(row.split(",")[2] in ("train", "val") for row in (probe_run / "splits.csv").read_text().splitlines())]
    assert [said["photos"]] == counts
    assert said["photos"] < 36  # its test photos are left alone
    assert said["backbone"] == "starter"
    assert not any("fine-tuned" in note for note in said["notes"])


@pytest.fixture
def like_run(probe_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """``like_run(file, **changes)``: a copy of the probe's folder in which one of its JSON files says other things."""

    def make(name: str, change: Callable[[dict[str, Any]], None]) -> Path:
        run = tmp_path / "like"
        shutil.copytree(probe_run, run)
        facts = json.loads((run / name).read_text())
        change(facts)
        (run / name).write_text(json.dumps(facts))
        return run

    return make


def test_a_fine_tuned_run_is_forecast_by_the_network_it_began_with(like_run: Callable[..., Path]) -> None:
    run = like_run("plan.json", lambda plan: plan.update(strategy="lp-ft"))
    found = hs.forecast(run, quiet=True)
    assert any("was fine-tuned (lp-ft)" in note and "pretrained starter" in note for note in found.notes)


def test_a_run_from_scratch_is_refused(like_run: Callable[..., Path]) -> None:
    run = like_run("request.json", lambda asked: asked["options"].update(strategy="scratch", weights=None))
    with pytest.raises(RunError, match="trained from scratch"):
        hs.forecast(run)


def test_a_run_takes_no_backbone(probe_run: Path, cli: Callable[..., Any], refused: Callable[..., None]) -> None:
    refused(cli("forecast", probe_run, "--backbone", "resnet50"), "is a run", "--backbone")
    refused(cli("forecast", probe_run, "--image-size", "64"), "is a run", "--image-size")


@pytest.mark.slow
def test_a_backbone_that_was_trained_before_is_told_of(
    like_run: Callable[..., Path], photos: Path, probe_run: Path
) -> None:
    run = like_run("plan.json", lambda plan: plan.update(strategy="finetune"))
    found = hs.forecast(photos, from_run=run, quiet=True)
    assert any("too good" in note for note in found.notes)
    assert not any("too good" in note for note in hs.forecast(photos, from_run=probe_run, quiet=True).notes)


def test_progress_is_told(photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(Events, "progress", lambda _, what, done, total: told.append((what, done, total)))
    hs.forecast(photos, backbone="starter", weights=weights, quiet=True)
    assert [total for what, _, total in told if what.startswith("probes")] == [len(told_of(told))] * len(told_of(told))


def told_of(told: list[Any]) -> list[Any]:
    return [row for row in told if row[0].startswith("probes")]
