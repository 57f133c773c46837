"""A request that gives every option of a training."""

from headstart.training.config import TrainOptions

FULL = TrainOptions(
    "my photos/",
    out="runs/it's here",
    backbone="resnet50",
    weights="w e i.pth",
    cut="layer2.2",
    head="mlp:8,4",
    dropout=(0.5, 0.3),
    strategy="partial",
    boundary="layer3",
    val=0.2,
    test=0.1,
    shots=7,
    seed=3,
    mean=(0.49140098, 0.5, 0.5),
    std=(0.1, 0.2, 0.3),
    device="cpu",
    on_bad="fail",
    settings={"lr": 0.01, "augment": "none", "image_size": 64},
)
