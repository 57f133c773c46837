"""Keras on PyTorch, after its guide to transfer learning. In: split folders, a checkpoint of MobileNetV2 in timm's
names, a size, epochs. Out: seconds and accuracy after each epoch on the judged photos.

Keras has no ResNet-18, and its ResNet-50 is another network than the one that the checkpoint is of (its strides lie in
other convolutions). MobileNetV2 is the same in both, so its checkpoint can be carried over; that the features are the
same is checked, before the clock starts.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

from pathlib import Path
from typing import Any

import keras
import numpy as np
import timm
import torch
from child import Clock, serve
from net import tensors
from peer_torch import WORKERS, names_of
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

BATCH = 64
TIMM_EPSILON, KERAS_EPSILON = 1e-5, 1e-3
MOST_ERROR = 1e-3


def guide(asked: dict[str, Any]) -> dict[str, Any]:
    """A new head on the frozen network by Adam, then everything at 1e-5, BatchNorm's statistics kept; photos are
    mirrored and turned a little.
    """
    size, root = asked["size"], Path(asked["data"])
    keras.utils.set_random_seed(asked["seed"])
    loaded = carry_over(new_base(size), asked["weights"], size, check=True)
    clock = Clock()
    train, judged = (ImageFolder(root / split, _plain(size)) for split in ("train", asked["judge"]))
    loader = DataLoader(train, BATCH, shuffle=True, num_workers=WORKERS)
    judge = DataLoader(judged, BATCH, num_workers=WORKERS)
    base = new_base(size)
    carry_over(base, asked["weights"], size, check=False)
    model = with_head(base, size, len(train.classes))
    for trainable, rate, epochs in ((False, 1e-3, asked["epochs"][0]), (True, 1e-5, asked["epochs"][1])):
        base.trainable = trainable
        model.compile(
            optimizer=keras.optimizers.Adam(rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(loader, epochs=epochs, validation_data=judge, callbacks=[_Epochs(clock)], verbose=0)
    return {**clock.answer(names_of(judged), size, loaded), "train": len(train)}


class _Epochs(keras.callbacks.Callback):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        self.clock.epoch(float(logs["val_accuracy"]))


def _plain(size: int) -> transforms.Compose:
    """Photos as float32 [size, size, 3] from 0 to 255."""
    return transforms.Compose(
        [transforms.Resize(size), transforms.CenterCrop(size), transforms.PILToTensor(), _channels_last]
    )


def _channels_last(photo: torch.Tensor) -> torch.Tensor:
    return photo.permute(1, 2, 0).float()


def new_base(size: int) -> Any:
    """MobileNetV2 without its classifier, with random weights."""
    return keras.applications.MobileNetV2(input_shape=(size, size, 3), include_top=False, weights=None)


def with_head(base: Any, size: int, classes: int) -> Any:
    """Augmentation, the scale that MobileNetV2 expects, the network with its statistics kept, a linear head."""
    photos = keras.Input((size, size, 3))
    x = keras.layers.RandomFlip("horizontal")(photos)
    x = keras.layers.RandomRotation(0.1)(x)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(photos, keras.layers.Dense(classes)(x))


def carry_over(base: Any, weights: str, size: int, check: bool) -> str:
    """Copy a checkpoint of timm's MobileNetV2 into Keras', layer by layer; with ``check``, compare what both make of
    noise. Says in words what was loaded.
    """
    state = {k: v for k, v in tensors(weights).items() if not k.endswith("num_batches_tracked")}
    left = {k for k in state if not k.startswith("classifier.")}
    layers = [layer for layer in base.layers if layer.weights]
    for layer, name in zip(layers, _names(state), strict=True):
        values = _values(layer, state, name)
        layer.set_weights(values)
        left -= {k for k in state if k.rpartition(".")[0] == name}
    assert not left, f"tensors that were not used: {sorted(left)[:5]}"
    error = _distance(base, weights, size) if check else 0.0
    assert error < MOST_ERROR, f"Keras' features are {error:.2g} away from timm's"
    used = sum(not k.startswith("classifier.") for k in state)
    return f"all {used} tensors of {Path(weights).name} but its classifier (features {error:.1g} from timm's)"


def _names(state: dict[str, torch.Tensor]) -> list[str]:
    """timm's modules in the order of the network; a convolution comes before its BatchNorm."""
    order = {"conv_pw": 0, "conv_dw": 1, "conv_pwl": 2}
    blocks: dict[tuple[int, int], set[str]] = {}
    for key in state:
        if key.startswith("blocks."):
            _, stage, block, module, _ = key.split(".")
            blocks.setdefault((int(stage), int(block)), set()).add(module)
    names = ["conv_stem", "bn1"]
    for (stage, block), modules in sorted(blocks.items()):
        # The first block does not widen: its pointwise convolution is the last one, not the first.
        convolutions = sorted((m for m in modules if m.startswith("conv")), key=order.__getitem__)
        if "conv_pwl" not in modules:
            convolutions = ["conv_dw", "conv_pw"]
        for n, module in enumerate(convolutions, 1):
            names += [f"blocks.{stage}.{block}.{module}", f"blocks.{stage}.{block}.bn{n}"]
    return [*names, "conv_head", "bn2"]


def _values(layer: Any, state: dict[str, torch.Tensor], name: str) -> list[np.ndarray]:
    """The arrays of a Keras layer from timm's module of that name."""
    if isinstance(layer, keras.layers.BatchNormalization):
        gamma, beta, mean, variance = (
            state[f"{name}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        # The two add different numbers to the variance before its root: the factor makes up for it.
        gamma = gamma * ((variance + KERAS_EPSILON) / (variance + TIMM_EPSILON)).sqrt()
        return [v.float().numpy() for v in (gamma, beta, mean, variance)]
    kernel = state[f"{name}.weight"]
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return [kernel.permute(2, 3, 0, 1).numpy() if depthwise else kernel.permute(2, 3, 1, 0).numpy()]


@torch.inference_mode()
def _distance(base: Any, weights: str, size: int) -> float:
    """Relative distance of the features that Keras' and timm's network make of the same noise."""
    net = timm.create_model("mobilenetv2_100", pad_type="same").eval()
    net.load_state_dict(tensors(weights), strict=True)
    x = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted = net.forward_features(x).permute(0, 2, 3, 1)
    found = base(x.permute(0, 2, 3, 1), training=False).cpu()
    return float((found - wanted).norm() / wanted.norm())


if __name__ == "__main__":
    serve({"guide": guide})
