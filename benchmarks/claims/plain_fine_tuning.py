"""How far a plain PyTorch loop gets that fine-tunes ResNet-18 on CIFAR-10, beside what headstart reaches there
(docs/explanation/results.md). In: the photos and weights. Out: val accuracy after each epoch.

    python benchmarks/claims/plain_fine_tuning.py ASSETS [--size 64] [--epochs 3] [--optimiser adamw|sgd] [--rate 1e-3]
                                                  [--batch 32] [--moving] [--random-head] [--photos 42500]

10,625 photos (a quarter) are drawn from the training folder, 7,500 others are val; CIFAR's own test photos are not
read. Crops of 32 px from photos padded by 4, mirrored or not, enlarged (bicubic); a head that logistic regression
fitted first; BatchNorm's statistics kept unless ``--moving``; one cycle of the rate; bf16 autocast. No code of
headstart's.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

QUARTER, VAL = 10_625, 7_500
MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--size", type=int, default=64, help="input, px")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--optimiser", choices=("adamw", "sgd"), default="adamw")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--photos", type=int, default=QUARTER, help="for training, 42500 at most")
    parser.add_argument("--moving", action="store_true", help="BatchNorm's statistics follow the batches")
    parser.add_argument("--random-head", action="store_true")
    asked = parser.parse_args()
    torch.manual_seed(0)
    photos, labels = read(asked.assets / "data" / "cifar10" / "train")
    train, val = (photos[: asked.photos], labels[: asked.photos]), (photos[-VAL:], labels[-VAL:])
    network = torchvision.models.resnet18()
    weights = load_file(asked.assets / "weights" / "resnet18.fp16.safetensors")
    network.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    )
    network.fc = nn.Linear(512, 10)
    network.to(memory_format=torch.channels_last)
    if not asked.random_head:
        fit_head(network, (train[0][:QUARTER], train[1][:QUARTER]), asked.size)
        print(f"probe {accuracy(network, val, asked.size):.4f}", flush=True)
    tune(network, train, val, asked)


def read(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All photos of class folders, uint8 [N, 3, 32, 32], and their classes [N], shuffled with seed 0."""
    files = sorted(folder.rglob("*.png")) or sorted(folder.rglob("*.jpg"))
    classes = sorted({file.parent.name for file in files})
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    order = np.random.default_rng(0).permutation(len(files))
    labels = torch.tensor([classes.index(file.parent.name) for file in files])
    return torch.from_numpy(pixels[order]).permute(0, 3, 1, 2), labels[order]


def enlarged(photos: torch.Tensor, size: int) -> torch.Tensor:
    larger = F.interpolate(photos.float(), size=(size, size), mode="bicubic", align_corners=False)
    return ((larger - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def augmented(photos: torch.Tensor, drawn: torch.Generator) -> torch.Tensor:
    padded = F.pad(photos.float(), (4,) * 4, mode="reflect")
    corners = torch.randint(0, 9, (len(photos), 2), generator=drawn).tolist()
    cut = torch.stack([one[:, y : y + 32, x : x + 32] for one, (y, x) in zip(padded, corners, strict=True)])
    mirrored = torch.rand(len(photos), generator=drawn) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), cut.flip(3), cut)


def logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return network(x).float()


@torch.no_grad()
def accuracy(network: nn.Module, val: tuple[torch.Tensor, torch.Tensor], size: int) -> float:
    network.eval()
    found = [logits(network, enlarged(part, size)).argmax(1) for part in val[0].split(250)]
    return float((torch.cat(found) == val[1]).float().mean())


@torch.no_grad()
def fit_head(network: nn.Module, train: tuple[torch.Tensor, torch.Tensor], size: int) -> None:
    head, network.fc = network.fc, nn.Identity()
    network.eval()
    features = torch.cat([logits(network, enlarged(part, size)) for part in train[0].split(250)]).numpy()
    scaler = StandardScaler().fit(features)
    solved = LogisticRegression(C=0.01, max_iter=300).fit(scaler.transform(features), train[1].numpy())
    weight = solved.coef_ / scaler.scale_
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(solved.intercept_ - weight @ scaler.mean_))
    network.fc = head


def tune(network: nn.Module, train: tuple, val: tuple, asked: argparse.Namespace) -> None:
    settings = {"lr": asked.rate, "weight_decay": 0.05} if asked.optimiser == "adamw" else {
        "lr": asked.rate, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4,
    }  # fmt: skip
    kind = torch.optim.AdamW if asked.optimiser == "adamw" else torch.optim.SGD
    optimiser = kind(network.parameters(), **settings)
    steps = asked.photos // asked.batch
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=asked.rate, total_steps=asked.epochs * steps, pct_start=0.15, cycle_momentum=False
    )
    drawn, began = torch.Generator().manual_seed(1), time.monotonic()
    for epoch in range(1, asked.epochs + 1):
        network.train()
        if not asked.moving:
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for part in torch.randperm(asked.photos, generator=drawn)[: steps * asked.batch].split(asked.batch):
            x = enlarged(augmented(train[0][part], drawn), asked.size)
            optimiser.zero_grad()
            F.cross_entropy(logits(network, x), train[1][part]).backward()
            optimiser.step()
            cycle.step()
        print(f"epoch {epoch}: {accuracy(network, val, asked.size):.4f} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
