"""Photos for tests, drawn on the spot. In: nothing. Out: fixtures that draw learnable photos, folders of them, and
every kind of bad file."""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from helpers.commands import said_by
from helpers.hostile import scan_bomb
from hypothesis import settings
from PIL import Image, ImageDraw

if TYPE_CHECKING:  # importing it here would import torch before the line below
    from headstart.models.backbone import Backbone

# Tests run side by side with other work; before torch is imported, one thread is asked for, here and in processes that
# tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline of an example: on a machine with other work, one takes as long as it takes.
settings.register_profile("headstart", deadline=None)
settings.load_profile("headstart")

pytest_plugins = [
    "helpers.earlier",
    "helpers.hubs",
    "helpers.pages",
    "helpers.scenes",
    "helpers.several",
    "helpers.shards",
]

COLOURS = ((200, 60, 50), (60, 80, 200), (70, 170, 80), (210, 180, 60), (150, 70, 170), (60, 170, 170))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Windows lets only some users make links: a test that needs one is skipped for the others."""
    try:
        return (yield)
    except OSError as error:
        if getattr(error, "winerror", 0) == 1314:
            pytest.skip("this user of Windows may not make links")
        raise


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caches, data or mirrors of the machine it runs on."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own-cache"))
    for name in ("HEADSTART_DATA", "HEADSTART_MIRROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/`` (real photos) and ``weights/`` (real weights, unpacked): what HEADSTART_ASSETS names,
    else ``../shared``.
    """
    folder = Path(os.environ.get("HEADSTART_ASSETS") or Path(__file__).parents[2] / "shared")
    if not (folder / "data" / "animals").is_dir():
        pytest.skip(f"no real photos in {folder} (HEADSTART_ASSETS can name another folder)")
    packed = sorted((folder / "weights").glob("*.xz"))
    if not packed:
        return folder
    unpacked = tmp_path_factory.mktemp("assets")
    (unpacked / "data").symlink_to((folder / "data").resolve(), target_is_directory=True)
    (unpacked / "weights").mkdir()
    for file in packed:
        with lzma.open(file) as source, open(unpacked / "weights" / file.stem, "wb") as target:
            shutil.copyfileobj(source, target)
    return unpacked


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, by Playwright; tests are skipped where there is none (CHROMIUM can name one)."""
    sync_api = pytest.importorskip("playwright.sync_api")
    place = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not place:
        pytest.skip("no Chromium here (CHROMIUM can name one)")
    quiet = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
    camera = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=place, args=[f"--{word}" for word in (*quiet, "disable-component-update", *camera)]
        )
        yield made
        made.close()


@pytest.fixture(scope="session")
def draw_photo() -> Callable[..., Path]:
    """``draw_photo(path, label_index, rng, size=(48, 40))``: a shape and a colour per class, position, size and noise
    at random."""
    return _draw_photo


@pytest.fixture
def class_folder(tmp_path: Path) -> Callable[..., Path]:
    """``class_folder(name="photos", classes=("cat", "dog"), per_class=6, splits=None, seed=0)``: a folder of drawn
    photos.

    ``splits``: folder names such as ``("train", "test")``, each with ``per_class`` photos of every class.
    """

    def make(
        name: str = "photos",
        classes: Sequence[str] = ("cat", "dog"),
        per_class: int = 6,
        splits: Sequence[str] | None = None,
        seed: int = 0,
    ) -> Path:
        rng = np.random.default_rng(seed)
        for folder in splits or [""]:
            for index, label in enumerate(classes):
                for i in range(per_class):
                    _draw_photo(tmp_path / name / folder / label / f"{label}_{i:03d}.png", index, rng)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def bad_files() -> Callable[[Path], dict[str, str | None]]:
    """``bad_files(folder)`` writes one file of every troublesome kind there.

    Returns, by file name, a word of the reason why it cannot be used, or None where it must be decoded all the same.
    """
    return _write_bad_files


def _draw_photo(path: Path, label_index: int, rng: np.random.Generator, size: tuple[int, int] = (48, 40)) -> Path:
    width, height = size
    noise = rng.integers(90, 150, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    side = int(min(size) * rng.uniform(0.45, 0.7))
    left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    box = (left, top, left + side, top + side)
    pen = ImageDraw.Draw(image)
    colour = tuple(int(c + rng.integers(-20, 21)) for c in COLOURS[label_index % len(COLOURS)])
    (pen.ellipse, pen.rectangle, pen.chord)[label_index % 3](
        box, *((0, 180) if label_index % 3 == 2 else ()), fill=colour
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def _write_bad_files(folder: Path) -> dict[str, str | None]:
    folder.mkdir(parents=True, exist_ok=True)
    photo = Image.open(_draw_photo(folder / "plain.png", 0, np.random.default_rng(5), (64, 48))).convert("RGB")
    photo.save(folder / "ordinary.jpg", quality=90)
    whole = (folder / "ordinary.jpg").read_bytes()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "truncated.png").write_bytes((folder / "plain.png").read_bytes()[:-2000])
    (folder / "text.jpg").write_text("this is not a photo\n")
    (folder / "page.jpg").write_text("<!DOCTYPE html><html>404 not found</html>")
    (folder / "noise.png").write_bytes(bytes(range(256)) * 4)
    (folder / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (folder / "scans.jpg").write_bytes(scan_bomb(600, photo.size))
    (folder / "pixel.png").write_bytes(_encoded(Image.new("RGB", (1, 1)), folder))
    return {
        **dict.fromkeys(("plain.png", "ordinary.jpg"), None),
        "empty.jpg": "empty", "truncated.jpg": "truncated", "truncated.png": "truncated", "text.jpg": "not an image",
        "page.jpg": "not an image", "noise.png": "not an image", "bomb.png": "bomb", "pixel.png": "small",
        "scans.jpg": "scans",
        **dict.fromkeys(_write_odd_files(folder, photo), None),
    }  # fmt: skip


def _write_odd_files(folder: Path, photo: Image.Image) -> list[str]:
    """Files that are photos, in ways that careless readers stumble over."""
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    see_through = photo.copy()
    see_through.putalpha(Image.linear_gradient("L").resize(photo.size))
    images: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "cmyk.jpg": (photo.convert("CMYK"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "gray.jpg": (photo.convert("L"), {}),
        "palette.png": (photo.convert("P", palette=Image.Palette.ADAPTIVE), {}),
        "animated.gif": (photo, {"save_all": True, "append_images": [photo.rotate(90), photo.rotate(180)]}),
        "rotated.jpg": (photo, {"exif": exif}),
        "see-through.png": (see_through, {}),
        "größe 写真 📷.png": (photo, {}),
        f"{'long' * 50}.png": (photo, {}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    (folder / "really-a-png.jpg").write_bytes(_encoded(photo, folder))
    return [*images, "really-a-png.jpg"]


def _encoded(image: Image.Image, folder: Path) -> bytes:
    place = folder / "for-a-moment.png"
    image.save(place)
    data = place.read_bytes()
    place.unlink()
    return data


def png_header(width: int, height: int) -> bytes:
    """A PNG file that promises a size and holds next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


# -- the real command line, on small networks --

CLASSES = ("cat", "dog", "owl")


class Answer(NamedTuple):
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """``cli("train", folder, "--seed", 1)`` runs the command in this process and gives its ``Answer``."""
    from headstart.cli.app import main

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, words)])
        return Answer(*said_by(main, capsys))

    return run


@pytest.fixture
def refused() -> Callable[..., None]:
    """``refused(answer, *words)``: the command ended in one clear message with these words, exit code 2, no
    traceback."""

    def check(answer: Answer, *words: str) -> None:
        assert answer.code == 2, answer
        assert "Traceback" not in answer.err
        assert answer.err.count("headstart: ") == 1, answer.err
        message = answer.err[answer.err.index("headstart: ") :]
        for word in words:
            assert word.lower() in message.lower(), message

    return check


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for the starter backbone, with random weights: 32 px, quick."""
    import torch
    from safetensors.torch import save_file

    from headstart.models.factory import create

    torch.set_num_threads(1)
    torch.manual_seed(20)
    path = tmp_path_factory.mktemp("weights") / "starter.safetensors"
    save_file({k: v.contiguous() for k, v in create("starter", pretrained=False).state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def resnets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Backbone → a checkpoint with random weights, as ``--weights`` takes it."""
    import torch
    from safetensors.torch import save_file

    from headstart.models.factory import create

    folder = tmp_path_factory.mktemp("resnets")
    torch.set_num_threads(1)
    for name in ("resnet18", "resnet50"):
        torch.manual_seed(20)
        state = create(name, pretrained=False).state_dict()
        save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")
    return {path.stem: path for path in folder.iterdir()}


_FLAT: dict[str, Any] = {"classes": ("cat", "dog", "panda"), "per_class": 8}
_TWO: dict[str, Any] = {"classes": ("cat", "dog"), "per_class": 6, "splits": ("train", "test")}
_TRAIN_VAL: dict[str, Any] = {**_TWO, "splits": ("train", "val")}
# Recipe → photos by image set, backbones that start from weights, changes that make it quicker still.
_QUICK: dict[str, tuple[dict[str, dict[str, Any]], list[str], list[str]]] = {
    "animals": ({"animals": _FLAT}, ["resnet18"], ["epochs=1", "shots=2", "image-size=32"]),
    "cifar-transfer": ({"cifar10": _TWO, "cifar100": _FLAT | {"splits": ("train", "test")}}, [], ["shots=2"]),
    "dogs-vs-cats": ({"dogs-vs-cats": _TWO}, ["resnet50"], ["epochs=1", "shots=2", "image-size=32"]),
    "few-shot": (
        {"cifar10": _TWO}, ["resnet50"],
        ["tenth.shots=2", "fifty.shots=1", "pretrained.shots=2", "probe-at.shots=2", "probe.shots=[1, 2]",
         "fine-tune.shots=[2]", "scratch.shots=[1]", "probe-at.image_size=[32, 48]"],
    ),
    "imagewoof": ({"imagewoof": _TRAIN_VAL}, ["resnet50"], ["epochs=1", "shots=2", "image-size=32"]),
}  # fmt: skip


@pytest.fixture(scope="session")
def quick_forms() -> dict[str, Any]:
    """How each shipped study is run on drawn photos: see ``_QUICK``."""
    return _QUICK


@pytest.fixture(scope="session")
def moving_backbone(weights: Path) -> Backbone:
    """The starter with these weights and BatchNorm statistics unlike a fresh network's, so that folding has something
    to fold. Not to be trained.
    """
    import torch

    from headstart.models.factory import create

    made = create("starter", weights=weights)
    generator = torch.Generator().manual_seed(0)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return made


@pytest.fixture(scope="session")
def starter(weights: Path) -> tuple[str, ...]:
    """The words that ask for that backbone, in float32 so that figures are the same on every machine."""
    return ("--backbone", "starter", "--weights", str(weights), "--precision", "float32")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twelve drawn photos; shared, so never written to."""
    folder, rng = tmp_path_factory.mktemp("drawn") / "photos", np.random.default_rng(3)
    for index, label in enumerate(CLASSES):
        for i in range(12):
            _draw_photo(folder / label / f"{label}_{i:02d}.png", index, rng)
    return folder


@pytest.fixture(scope="session")
def probe_run(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished probe of ``photos``; shared, so never written to."""
    from headstart.workflows.train.train import train

    place = tmp_path_factory.mktemp("probe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(place / "cache"))
        run = train(
            photos, out=place / "run", backbone="starter", weights=str(weights), strategy="probe", quiet=True,
            settings={"precision": "float32"},
        )  # fmt: skip
    return run.path


@pytest.fixture(scope="session")
def sure_run(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``probe_run``, with enough photos, in ``photos`` beside it, to say which are unlike them; never written to."""
    from headstart.workflows.train.train import train

    place, rng = tmp_path_factory.mktemp("sure"), np.random.default_rng(4)
    for index, label in enumerate(CLASSES):
        for i in range(60):
            _draw_photo(place / "photos" / label / f"{label}_{i:02d}.png", index, rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(place / "cache"))
        run = train(
            place / "photos", out=place / "run", backbone="starter", weights=str(weights), strategy="probe", quiet=True,
            val=0.4, settings={"precision": "float32"},
        )  # fmt: skip
    return run.path


@pytest.fixture
def train(cli: Callable[..., Answer], starter: tuple[str, ...], tmp_path: Path) -> Callable[..., Answer]:
    """``train(data, ...)``: a probe into ``tmp_path/run``, unless other options say otherwise."""

    def go(data: object, *words: object) -> Answer:
        out = () if "--out" in words else ("--out", tmp_path / "run")
        strategy = () if "--strategy" in words else ("--strategy", "probe")
        weights = () if "--backbone" in words or "--weights" in words or "--from" in words else starter
        return cli("train", data, *strategy, *weights, *out, *words)

    return go
