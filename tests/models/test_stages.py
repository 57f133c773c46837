"""Names of places in a network, as pure text."""

from __future__ import annotations

import pytest

from headstart.errors import OptionError
from headstart.models.stages import boundary_index, cut_index, place_names, stage_names

RESNET = ("conv1", "bn1", "act1", "maxpool", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer10.0", "pool")
EFFICIENTNET = ("conv_stem", "bn1", "blocks.0.0", "blocks.0.1", "blocks.1.0", "blocks.10.0", "conv_head", "bn2", "pool")


def test_stages_of_a_resnet_and_of_a_network_in_one_container() -> None:
    assert stage_names(RESNET) == ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer10", "pool")
    assert stage_names(EFFICIENTNET) == (
        "conv_stem",
        "bn1",
        "blocks.0",
        "blocks.1",
        "blocks.10",
        "conv_head",
        "bn2",
        "pool",
    )


def test_places_are_blocks_and_their_prefixes_in_order() -> None:
    assert place_names(EFFICIENTNET)[2:6] == ("blocks", "blocks.0", "blocks.0.0", "blocks.0.1")


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("start", 0),
        ("end", 10),
        ("conv1", 0),
        ("layer1", 4),
        ("layer1.0", 4),
        ("layer1.1", 5),
        ("layer10", 8),
        (" pool ", 9),
    ],
)
def test_boundary_is_the_first_block_under_the_name(name: str, index: int) -> None:
    assert boundary_index(name, RESNET, "net") == index


@pytest.mark.parametrize(
    ("name", "kept"), [("conv1", 1), ("layer1", 6), ("layer1.0", 5), ("layer2[1]", 8), ("pool", 10)]
)
def test_cut_keeps_the_last_block_under_the_name(name: str, kept: int) -> None:
    assert cut_index(name, RESNET, "net") == kept


@pytest.mark.parametrize("name", ["layer", "layer1.7", "layer3", "", "LAYER1", "layer1.0.conv1"])
def test_a_name_that_is_no_place_is_refused_with_the_stages(name: str) -> None:
    for resolve in (boundary_index, cut_index):
        with pytest.raises(OptionError, match="maxpool, layer1, layer2, layer10, pool"):
            resolve(name, RESNET, "net")


def test_a_typing_mistake_gets_the_nearest_name() -> None:
    with pytest.raises(OptionError, match=r"Did you mean 'layer2"):
        boundary_index("leyer2", RESNET, "net")
    with pytest.raises(OptionError, match=r"Did you mean 'end'"):
        boundary_index("ende", RESNET, "net")


def test_start_and_end_are_no_cuts() -> None:
    with pytest.raises(OptionError, match="to be the cut"):
        cut_index("end", RESNET, "net")


def test_a_network_known_only_as_a_whole_says_so() -> None:
    with pytest.raises(OptionError, match="cannot be cut"):
        cut_index("layer1", ("body",), "beit")
    assert boundary_index("end", ("body",), "beit") == 1
