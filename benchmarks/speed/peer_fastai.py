"""fastai, as its documents use it. In: split folders, a checkpoint, a size, epochs. Out: seconds and accuracy after
each epoch on the judged photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torchvision
from child import Clock, serve
from fastai.vision.all import (
    Callback,
    FlipItem,
    ImageDataLoaders,
    Normalize,
    RandomResizedCrop,
    Resize,
    accuracy,
    set_seed,
    vision_learner,
)
from fastai.vision.learner import model_meta
from net import load_all, tensors


class _Epochs(Callback):
    """Notes each epoch once fastai's recorder has judged it."""

    order = 70

    def __init__(self, clock: Clock, size: int) -> None:
        self.clock, self.size = clock, size

    def before_batch(self) -> None:
        assert self.xb[0].shape[-2:] == (self.size, self.size)

    def after_epoch(self) -> None:
        self.clock.epoch(float(self.learn.recorder.values[-1][-1]))


def fine_tune(asked: dict[str, Any]) -> dict[str, Any]:
    """``fine_tune(epochs)`` with the defaults of its quick start: photos resized and cropped, 64 at a time; an epoch of
    the head alone, then so many of everything.
    """
    clock = Clock()
    learner, answer = _learner(asked, clock, item_tfms=Resize(asked["size"]))
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(asked["epochs"])
    return answer()


def unfrozen(asked: dict[str, Any]) -> dict[str, Any]:
    """So many epochs of everything from the first step on, photos cropped and mirrored as headstart does, in batches of
    the same size.
    """
    clock = Clock()
    crops = [RandomResizedCrop(asked["size"], min_scale=0.35), FlipItem()]
    learner, answer = _learner(asked, clock, item_tfms=crops, bs=asked["batch_size"])
    learner.unfreeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(asked["epochs"])
    return answer()


def _learner(asked: dict[str, Any], clock: Clock, **loading: Any) -> tuple[Any, Any]:
    """(a learner that starts from the checkpoint, what makes the answer once it has learned)."""
    set_seed(asked["seed"])
    dls = ImageDataLoaders.from_folder(Path(asked["data"]), train="train", valid=asked["judge"], **loading)
    said: list[str] = []

    def resnet18(weights: Any = None) -> torch.nn.Module:
        """What fastai takes for an architecture whose weights are published: these are in the file."""
        net = torchvision.models.resnet18(weights=None)
        said.append(load_all(net, asked["weights"]))
        return net

    model_meta[resnet18] = model_meta[torchvision.models.resnet18]
    learner = vision_learner(dls, resnet18, metrics=accuracy, cbs=[_Epochs(clock, asked["size"])])
    _check(learner, asked["weights"])

    def answer() -> dict[str, Any]:
        judged = ["/".join(Path(path).parts[-2:]) for path in dls.valid_ds.items]
        return {**clock.answer(judged, asked["size"], said[0]), "train": len(dls.train_ds)}

    return learner, answer


def _check(learner: Any, weights: str) -> None:
    """The body holds the checkpoint's tensors, and photos are normalised as it expects."""
    wanted = [v for k, v in tensors(weights).items() if not k.startswith("fc.")]
    held = {tuple(v.shape): [] for v in wanted}  # type: ignore[var-annotated]
    for tensor in learner.model[0].state_dict().values():
        held[tuple(tensor.shape)].append(tensor)
    assert all(any(torch.equal(v, w) for w in held[tuple(v.shape)]) for v in wanted)
    assert any(isinstance(step, Normalize) for step in learner.dls.after_batch.fs)


if __name__ == "__main__":
    serve({"fine_tune": fine_tune, "unfrozen": unfrozen})
