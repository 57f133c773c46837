"""What --backbones takes, and how each mistake in it is answered."""

from __future__ import annotations

import pytest

from headstart.errors import OptionError
from headstart.models.catalogue import KNOWN
from headstart.models.providers import resolve
from headstart.reporting.command import command_line
from headstart.training.config import TrainOptions
from headstart.workflows.recommend.candidates import CURATED, Candidate, candidates

HALF = (0.5, 0.5, 0.5)
READ = {
    "names": ("resnet18,resnet50", [Candidate("resnet18"), Candidate("resnet50")]),
    "a space after the comma": ("'resnet18, starter'", [Candidate("resnet18"), Candidate("starter")]),
    "a cut": ("resnet50@layer2.1", [Candidate("resnet50", cut="layer2.1")]),
    "weights for all names": (
        "resnet50@layer3,resnet50 --weights a.pth",
        [Candidate("resnet50", cut="layer3", weights="a.pth"), Candidate("resnet50", weights="a.pth")],
    ),
    "timm's options": ("net:pad=same,act=relu,starter", [Candidate("net:pad=same,act=relu"), Candidate("starter")]),
    "mean and std": ("starter --mean 0.5,0.5,0.5 --std=.5,.5,.5", [Candidate("starter", mean=HALF, std=HALF)]),
    "size and cut": ("starter --image-size 64 --cut layer1", [Candidate("starter", cut="layer1", image_size=64)]),
    "a path of Windows": (r"starter --weights C:\new\w.pth", [Candidate("starter", weights=r"C:\new\w.pth")]),
    "a quoted path": ("starter --weights 'my files/w.pth'", [Candidate("starter", weights="my files/w.pth")]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), READ.values(), ids=READ)
def test_what_is_read(text: str, wanted: list[Candidate]) -> None:
    assert candidates([text]) == wanted


def test_python_takes_mappings_beside_text() -> None:
    given = [{"backbone": "resnet50", "cut": None, "mean": [0.5] * 3}, "starter"]
    assert candidates(given) == [Candidate("resnet50", mean=HALF), Candidate("starter")]


MISTAKES = {
    "twice": (["resnet18", "resnet18"], "names resnet18 twice"),
    "nothing": ([""], "names nothing"),
    "an unknown option": (["resnet18 --weight a.pth"], "is not an option of a backbone.\n  Did you mean '--weights'"),
    "no value": (["resnet18 --weights"], "--weights needs a value"),
    "two words": (["resnet18 resnet50"], "'resnet50' is not an option"),
    "two cuts": (["resnet50@layer2 --cut layer3"], "both say where it ends"),
    "no numbers": (["resnet18 --mean x"], "is not a list of numbers"),
    "no size": (["resnet18 --image-size big"], "is not a whole number"),
    "an open quote": (["resnet18 --weights 'a"], "a quote is open"),
    "an unknown name in a mapping": ([{"backbone": "resnet18", "weight": "a"}], "'weight' is not one of backbone"),
    "no backbone in a mapping": ([{"weights": "a"}], "names no backbone"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_said(given: list[str], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        candidates(given)
    assert words in str(caught.value)


def test_the_same_network_with_other_weights_is_another_candidate() -> None:
    found = candidates(["resnet18 --weights a.pth", "resnet18 --weights b.pth", "resnet18 --mean .5,.5,.5", "starter"])
    names = ["resnet18 (a.pth)", "resnet18 (b.pth)", "resnet18 (published weights, mean 0.5)", "starter"]
    assert [one.name for one in found] == names


def test_the_words_of_train_name_all_of_it() -> None:
    one = Candidate("resnet50", "layer3", "a b.pth", HALF, (0.25, 0.5, 1.0), 96)
    assert command_line("train", "photos", one.given) == (
        "headstart train photos --backbone resnet50 --cut layer3 --weights 'a b.pth' --mean 0.5,0.5,0.5"
        " --std 0.25,0.5,1.0 --image-size 96"
    )
    made = one.options(TrainOptions("photos", settings={"precision": "float32"}))
    assert (made.backbone, made.cut, made.weights, made.mean) == ("resnet50", "layer3", "a b.pth", HALF)
    assert made.settings == {"precision": "float32", "image_size": 96}


def test_the_curated_networks_exist_and_their_figures_are_known() -> None:
    assert candidates([]) == list(CURATED)
    assert all(one.backbone in KNOWN for one in CURATED)
    for name in KNOWN:
        assert resolve(name).name == name


def test_published_accuracy_is_that_of_the_published_weights() -> None:
    assert Candidate("resnet18").imagenet == 69.8
    assert Candidate("resnet18", weights="a.pth").imagenet is None
    assert Candidate("resnet18", cut="layer3").imagenet is None
    assert Candidate("vgg11").imagenet is None
    assert Candidate("tf_efficientnet_lite2").imagenet == 77.5  # known by timm's tag, which the name leaves out
    assert Candidate("mobilenetv2_100:pad_type=same").imagenet is None  # another network than the published one
