"""``time-to-accuracy``, ``epoch``, ``partial``: headstart's trainings beside a user's other ones. In: the same photos,
split once, and the same weights for all. Out: seconds, and accuracy on the same judged photos.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench import Bench, Failed, expect, ratios, rotated, say, skipped, spread, table
from photos import Parted, part

HEADSTART = "headstart_child"
BATCH = 32


@dataclass(frozen=True)
class Contestant:
    """Who is measured: a job of a script, and what it is asked besides the photos and weights."""

    name: str
    script: str
    job: str
    network: str
    asked: dict[str, Any]

    @property
    def ours(self) -> bool:
        return self.script == HEADSTART


def ours(name: str, network: str, size: int, **options: Any) -> Contestant:
    """A training of headstart's."""
    return Contestant(name, HEADSTART, "train", network, {"options": {**options, "image_size": size}})


def measure(bench: Bench, experiment: str, contestants: Sequence[Contestant], photos: Parted) -> None:
    """All contestants, in an order that turns from round to round, each in a process of its own with an empty cache."""
    for number in range(bench.rounds):
        for contestant in rotated(contestants, number):
            with bench.cold() as env:
                figures = bench.child(contestant.script, contestant.job, _asked(bench, contestant, photos, number), env)
            _check(figures, contestant, photos, bench.sizes.image_size)
            bench.keep(experiment, contestant.name, number, figures)


def _asked(bench: Bench, contestant: Contestant, photos: Parted, number: int) -> dict[str, Any]:
    weights, data = bench.weights(contestant.network), {"data": str(photos.root), "judge": photos.judge}
    if not contestant.ours:
        same = {"weights": weights, "size": bench.sizes.image_size, "seed": number}
        return {**data, **same, **contestant.asked}
    options = {"backbone": contestant.network, "weights": weights, "seed": number, **contestant.asked["options"]}
    return {**data, "out": str(bench.folder("run")), "options": options}


def _check(figures: dict[str, Any], contestant: Contestant, photos: Parted, size: int) -> None:
    """The same photos were judged, at the same size, from the same weights, and as many were trained on."""
    trained = figures["photos"] if contestant.ours else {"train": figures["train"]}
    trained = sum(count for split, count in trained.items() if split != photos.judge)
    found = (figures["judged"], figures["judged_digest"], figures["image_size"], trained)
    expect(found, (photos.judged, photos.digest, size, photos.train), contestant.name)
    if f"{contestant.network}.fp16.safetensors" not in figures["weights"]:
        raise Failed(f"{contestant.name} started from {figures['weights']!r}")


def _parted(bench: Bench, judge: str) -> Parted:
    sizes = bench.sizes
    return part(
        bench.data("animals"), bench.folder("split") / "animals", sizes.per_class, sizes.judged_per_class, judge
    )


# -- time to accuracy --


def time_to_accuracy(bench: Bench) -> None:
    """Whole trainings until their final accuracy. headstart chooses on a part of train, and meets the judged photos
    once, as its test split; the peers train on all of train and are judged after each epoch.
    """
    experiment, photos, size = "time-to-accuracy", _parted(bench, "test"), bench.sizes.image_size
    network = "resnet18"
    mine = [ours(f"headstart {s}", network, size, strategy=s) for s in ("probe", "auto")]
    peers = _torch_peers(bench, network) + _fastai_peers(bench, network)
    measure(bench, experiment, [*mine, *peers], photos)
    _print_times(bench, experiment, network, photos, mine, peers)
    if "keras" not in bench.without and not skipped("keras", "Keras"):
        _with_keras(bench, experiment, photos)


def _torch_peers(bench: Bench, network: str) -> list[Contestant]:
    epochs = {"epochs": bench.sizes.tutorial_epochs}
    peers = {"loop": ("PyTorch loop", "tutorial"), "timm": ("timm's parts", "timm")}
    return [
        Contestant(f"{name}, {epochs['epochs']} epochs", "peer_torch", job, network, epochs)
        for peer, (name, job) in peers.items()
        if peer not in bench.without
    ]


def _fastai_peers(bench: Bench, network: str) -> list[Contestant]:
    if "fastai" in bench.without or skipped("fastai", "fastai"):
        return []
    return [
        Contestant(f"fastai fine_tune({n})", "peer_fastai", "fine_tune", network, {"epochs": n})
        for n in bench.sizes.fastai_epochs
    ]


def _with_keras(bench: Bench, experiment: str, photos: Parted) -> None:
    """Keras has no ResNet-18: both work on MobileNetV2 here, from the same file."""
    network, size = "mobilenetv2_100", bench.sizes.image_size
    # The file's weights were made with TensorFlow's padding, and for values from -1 to 1.
    same: dict[str, Any] = {"backbone": f"{network}:pad_type=same", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    mine = [ours(f"headstart {s}, MobileNetV2", network, size, strategy=s, **same) for s in ("probe", "auto")]
    head, whole = bench.sizes.keras_epochs
    asked = {"epochs": [head, whole]}
    peers = [Contestant(f"Keras, {head} + {whole} epochs", "peer_keras", "guide", network, asked)]
    measure(bench, experiment, [*mine, *peers], photos)
    _print_times(bench, experiment, network, photos, mine, peers)


def _print_times(
    bench: Bench, experiment: str, network: str, photos: Parted, mine: list[Contestant], peers: list[Contestant]
) -> None:
    size = bench.sizes.image_size
    say(f"\n### Time to accuracy: {network}, {photos.train} photos of {size} px, judged on {photos.judged}")
    seconds = {c.name: bench.values(experiment, c.name, "seconds") for c in [*mine, *peers]}
    rows = []
    for c in [*mine, *peers]:
        accuracy = spread(bench.values(experiment, c.name, "accuracy"), 4)
        times = [spread(ratios(seconds[c.name], seconds[m.name])) for m in mine]
        rows.append([c.name, spread(seconds[c.name], 1), accuracy, *times, _reached(bench, experiment, c, mine[0])])
    header = ["training", "seconds", "accuracy", *(f"times {m.name}" for m in mine)]
    table([*header, f"as good as {mine[0].name} after, s"], rows)
    _print_epochs(bench, experiment, peers)
    _print_choices(bench, experiment, mine)


def _reached(bench: Bench, experiment: str, contestant: Contestant, mark: Contestant) -> str:
    """When each round's training first was as accurate as headstart's of the same round."""
    if contestant.ours:
        return ""
    said = []
    for theirs, our in zip(bench.kept(experiment, contestant.name), bench.kept(experiment, mark.name), strict=True):
        at = [epoch["at"] for epoch in theirs["epochs"] if epoch["accuracy"] >= our["accuracy"]]
        said.append(f"{at[0]:.1f}" if at else "never")
    return ", ".join(said)


def _print_epochs(bench: Bench, experiment: str, peers: list[Contestant]) -> None:
    """Seconds of every epoch (the judging included) and the accuracy after it, medians over the rounds."""
    rows = []
    for c in peers:
        rounds = [record["epochs"] for record in bench.kept(experiment, c.name)]
        for n, several in enumerate(zip(*rounds, strict=True), 1):
            times, right = ([epoch[key] for epoch in several] for key in ("seconds", "accuracy"))
            rows.append([c.name, f"{n}", spread(times, 1), spread(right, 4)])
    say("Each epoch, judging included (the first one also what came before it):")
    table(["training", "epoch", "seconds", "accuracy"], rows)


def _print_choices(bench: Bench, experiment: str, mine: list[Contestant]) -> None:
    for c in mine:
        record = bench.kept(experiment, c.name)[0]
        parted = ", ".join(f"{split} {count}" for split, count in record["photos"].items())
        decided = f"; {record['decision']}" if record["decision"] else ""
        say(f"- {c.name}: {record['strategy']}, {record['engine']}, {record['precision']}; {parted}{decided}")


# -- epochs of fine-tuning --


def epoch(bench: Bench) -> None:
    """Epochs of the whole network: headstart's finetune and fastai's, in batches of one size, both judged on the same
    photos after each.
    """
    if skipped("fastai", "epoch"):
        return
    network, size, epochs = "resnet18", bench.sizes.image_size, bench.sizes.epochs
    same: dict[str, Any] = {"epochs": epochs, "batch_size": BATCH}
    contestants = [
        ours("headstart finetune", network, size, strategy="finetune", **same),
        ours("headstart finetune from layer2", network, size, strategy="finetune", boundary="layer2", **same),
        Contestant("fastai, unfrozen", "peer_fastai", "unfrozen", network, same),
    ]
    photos = _parted(bench, "val")
    measure(bench, "epoch", contestants, photos)
    title = f"An epoch of fine-tuning: {network}, {photos.train} photos of {size} px, batches of {BATCH}"
    _print_comparison(bench, "epoch", title, contestants)


def partial(bench: Bench) -> None:
    """Epochs of a part of the network on cached maps, against epochs of the whole."""
    network, size, epochs = "resnet18", bench.sizes.image_size, bench.sizes.epochs
    same: dict[str, Any] = {"epochs": epochs, "batch_size": BATCH}
    contestants = [
        ours("finetune", network, size, strategy="finetune", **same),
        ours("partial, layer3", network, size, strategy="partial", boundary="layer3", **same),
        ours("partial, layer4", network, size, strategy="partial", boundary="layer4", **same),
    ]
    photos = _parted(bench, "val")
    measure(bench, "partial", contestants, photos)
    title = f"Training a part: headstart, {network}, {photos.train} photos of {size} px, batches of {BATCH}"
    _print_comparison(bench, "partial", title, contestants)


def _print_comparison(bench: Bench, experiment: str, title: str, contestants: list[Contestant]) -> None:
    """The seconds of an epoch after the first, against the first contestant's, and the accuracy after the last."""
    rows = []
    base = _later_epochs(bench, experiment, contestants[0].name)
    for c in contestants:
        seconds, whole = _later_epochs(bench, experiment, c.name), bench.values(experiment, c.name, "seconds")
        last = [record["epochs"][-1]["accuracy"] for record in bench.kept(experiment, c.name)]
        times = spread(ratios(seconds, base))
        rows.append([c.name, spread(seconds), times, spread(last, 4), spread(whole, 1)])
    count = bench.sizes.epochs
    say(f"\n### {title}")
    table(
        [
            "training",
            "s per epoch after the first",
            f"times {contestants[0].name}",
            f"accuracy after {count}",
            "all, s",
        ],
        rows,
    )
    say(
        "An epoch includes the judging after it. All: from photos to the end, with what is done once before the epochs."
    )


def _later_epochs(bench: Bench, experiment: str, name: str) -> list[float]:
    """The median epoch after the first, by round."""
    rounds = [record["epochs"] for record in bench.kept(experiment, name)]
    return [statistics.median(epoch["seconds"] for epoch in epochs[1:]) for epochs in rounds]


EXPERIMENTS: dict[str, Callable[[Bench], None]] = {
    "time-to-accuracy": time_to_accuracy,
    "epoch": epoch,
    "partial": partial,
}
