"""Peers written with PyTorch alone, and with timm's parts. In: split folders, a checkpoint, a size, epochs. Out:
seconds and accuracy after each epoch on the judged photos.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import timm
import timm.data
import timm.optim
import timm.scheduler
import torch
import torchvision
from child import Clock, serve
from net import MEAN, STD, load_all, tensors
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

WORKERS = 2
BATCH = 32


def judging(size: int) -> transforms.Compose:
    """The shorter side resized, the centre kept: what headstart's networks see."""
    steps = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])


def cropping(size: int) -> transforms.Compose:
    """Random crops, mirrored or not."""
    steps = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])


def names_of(dataset: Any) -> list[str]:
    """class/file of each photo of a torchvision ImageFolder."""
    return ["/".join(Path(path).parts[-2:]) for path, _ in dataset.samples]


def tutorial(asked: dict[str, Any]) -> dict[str, Any]:
    """A loop in the manner of PyTorch's transfer learning tutorial: everything is trained, SGD at 0.001 with momentum
    0.9, a tenth of it from the eighth epoch on; the best epoch's weights are kept.
    """
    clock, root, size = Clock(), Path(asked["data"]), asked["size"]
    torch.manual_seed(asked["seed"])
    train = torchvision.datasets.ImageFolder(root / "train", cropping(size))
    judged = torchvision.datasets.ImageFolder(root / asked["judge"], judging(size))
    loader = DataLoader(train, BATCH, shuffle=True, num_workers=WORKERS)
    judge = DataLoader(judged, BATCH, num_workers=WORKERS)
    net = torchvision.models.resnet18(weights=None)
    loaded = load_all(net, asked["weights"])
    net.fc = nn.Linear(net.fc.in_features, len(train.classes))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=7, gamma=0.1)
    with tempfile.TemporaryDirectory() as folder:
        kept, best = Path(folder) / "best.pt", -1.0
        for _ in range(asked["epochs"]):
            train_epoch(net, loader, optimiser, size)
            schedule.step()
            accuracy = accuracy_of(net, judge, size)
            if accuracy > best:
                best = accuracy
                torch.save(net.state_dict(), kept)
            clock.epoch(accuracy)
    return {**clock.answer(names_of(judged), size, loaded), "train": len(train)}


def train_epoch(net: nn.Module, loader: Any, optimiser: torch.optim.Optimizer, size: int) -> None:
    """One pass over the training photos in float32."""
    net.train()
    loss_of = nn.CrossEntropyLoss()
    for x, y in loader:
        assert x.shape[-2:] == (size, size)
        optimiser.zero_grad()
        loss_of(net(x), y).backward()
        optimiser.step()


@torch.inference_mode()
def accuracy_of(net: nn.Module, loader: Any, size: int) -> float:
    """The share of photos that the network classifies correctly."""
    net.eval()
    right = []
    for x, y in loader:
        assert x.shape[-2:] == (size, size)
        right.append(net(x).argmax(1) == y)
    return torch.cat(right).double().mean().item()


def timm_parts(asked: dict[str, Any]) -> dict[str, Any]:
    """What timm's train script puts together, of timm's own parts (the script is not in the package): its loader with
    its default augmentation, SGD at 0.1 for 256 photos a step and so 0.0125 for 32, a cosine over the epochs.
    """
    clock, root, size = Clock(), asked["data"], asked["size"]
    torch.manual_seed(asked["seed"])
    train = timm.data.create_dataset("", root, split="train", is_training=True)
    judged = timm.data.create_dataset("", root, split=asked["judge"])
    assert judged.reader.class_to_idx == train.reader.class_to_idx
    shape: dict[str, Any] = {"input_size": (3, size, size), "batch_size": BATCH, "num_workers": WORKERS}
    shape |= {"use_prefetcher": False, "device": torch.device("cpu"), "mean": MEAN, "std": STD}
    loader = timm.data.create_loader(train, is_training=True, **shape)
    judge = timm.data.create_loader(judged, is_training=False, crop_pct=1.0, **shape)
    net = timm.create_model("resnet18", num_classes=len(train.reader.class_to_idx))
    loaded = load_but_classifier(net, asked["weights"])
    optimiser = timm.optim.create_optimizer_v2(net, "sgd", lr=0.1 * BATCH / 256, momentum=0.9, weight_decay=2e-5)
    schedule, _ = timm.scheduler.create_scheduler_v2(optimiser, "cosine", num_epochs=asked["epochs"])
    for epoch in range(asked["epochs"]):
        train_epoch(net, loader, optimiser, size)
        schedule.step(epoch + 1)
        clock.epoch(accuracy_of(net, judge, size))
    names = ["/".join(Path(name).parts[-2:]) for name in judged.filenames()]
    return {**clock.answer(names, size, loaded), "train": len(train)}


def load_but_classifier(net: nn.Module, weights: str) -> str:
    """Load a checkpoint into a network with a classifier of its own; nothing else may be missing or left over."""
    offered = {k: v for k, v in tensors(weights).items() if not k.startswith("fc.")}
    missing, unexpected = net.load_state_dict(offered, strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}, missing
    assert not unexpected, unexpected
    return f"all {len(offered)} tensors of {Path(weights).name} but its classifier"


if __name__ == "__main__":
    serve({"tutorial": tutorial, "timm": timm_parts})
