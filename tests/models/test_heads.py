"""Heads: the layers that a spec promises, and specs that mean nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.errors import OptionError
from headstart.models.heads import build_head, head_kind, is_closed_form


def test_the_published_head() -> None:
    head = build_head("mlp:1024,256", 2048, 2, dropout=(0.5, 0.3))
    assert [str(layer) for layer in head.children()] == [
        "Dropout(p=0.5, inplace=False)",
        "Linear(in_features=2048, out_features=1024, bias=True)",
        "ReLU()",
        "Dropout(p=0.3, inplace=False)",
        "Linear(in_features=1024, out_features=256, bias=True)",
        "ReLU()",
        "Linear(in_features=256, out_features=2, bias=True)",
    ]


def test_linear_is_one_layer_and_a_dropout_only_where_asked() -> None:
    assert isinstance(build_head("linear", 8, 3), nn.Linear)
    assert isinstance(build_head("linear", 8, 3, dropout=(0.0,)), nn.Linear)
    assert [type(layer) for layer in build_head(" Linear ", 8, 3, dropout=(0.2,)).children()] == [nn.Dropout, nn.Linear]


def test_outputs_are_logits() -> None:
    for spec in ("linear", "mlp:16"):
        logits = build_head(spec, 8, 3)(torch.randn(64, 8))
        assert logits.shape == (64, 3)
        assert logits.min() < 0
        assert (logits.exp().sum(1) - 1).abs().max() > 0.1  # no LogSoftmax at the end


@pytest.mark.parametrize(
    "spec",
    ["", "mlp", "mlp:", "mlp:0", "mlp:-4", "mlp:12,", "mlp:a", "mlp:1.5", "conv:3", "mlp:9999999", "mlp:²"],
)
def test_specs_that_mean_nothing(spec: str) -> None:
    with pytest.raises(OptionError, match="mlp") as caught:
        build_head(spec, 8, 3)
    assert caught.value.option == "head"


def test_linear_takes_no_widths() -> None:
    with pytest.raises(OptionError, match="nothing after its name"):
        build_head("linear:3", 8, 3)


def test_a_misspelt_head_gets_the_nearest_name() -> None:
    with pytest.raises(OptionError, match="Did you mean 'linear'"):
        build_head("liner", 8, 3)


@pytest.mark.parametrize("dropout", [(1.0,), (-0.1,), (float("nan"),)])
def test_dropouts_outside_their_range(dropout: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="is not in"):
        build_head("linear", 8, 3, dropout=dropout)


def test_more_dropouts_than_layers() -> None:
    with pytest.raises(OptionError, match="3 dropouts for a head of 2 linear layers"):
        build_head("mlp:4", 8, 3, dropout=(0.1, 0.1, 0.1))


def test_only_a_linear_head_without_dropout_has_a_closed_form() -> None:
    assert is_closed_form("linear")
    assert is_closed_form("linear", (0.0,))
    assert not is_closed_form("linear", (0.5,))
    assert not is_closed_form("mlp:4")


@pytest.mark.parametrize(("spec", "dropout"), [("linear", ()), ("linear", (0.5,)), ("mlp:16", (0.2, 0.1))])
def test_a_head_divides_its_own_logits(spec: str, dropout: tuple[float, ...]) -> None:
    head, features = build_head(spec, 8, 3, dropout).eval(), torch.randn(5, 8)
    before = head(features)
    head_kind(spec)[0].scale(head, 2.5)
    assert torch.allclose(head(features) * 2.5, before, atol=1e-6)
