"""Steps of several processes against those of one, in float64, where rounding cannot hide a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.ranks import together
from torch import nn

from headstart.core.world import World
from headstart.training.exchange import Exchange, Piece, pieces

SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from headstart.core.world import ALONE, joined
from headstart.inference.device import Machine
from headstart.training.batches import ArraySource
from headstart.training.optimization import parameter_groups
from headstart.training.planning import resolve
from headstart.training.rules import Facts
from headstart.training.trainer import Trainer

class Short(nn.Module):  # memory that holds so many rows in one of the processes
    def __init__(self, rank):
        super().__init__()
        self.most = 3 if rank == 1 else 1000
    def forward(self, x):
        if len(x) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return x

torch.set_default_dtype(torch.float64)
rng, labels = np.random.default_rng(0), np.arange(45) % 3
rows = rng.normal(size=(45, 3, 8, 8)) + labels[:, None, None, None] * 0.3
facts = Facts(photos=45, classes=3, side=32, native_size=32, strategy="finetune", closed_form=False, last_stage="l")
settings = {"epochs": 5, "batch_size": 12, "lr": 0.01, "precision": "float32"}

def train(world, name, short=False):
    torch.manual_seed(1)
    norm = [] if name == "plain" else [nn.BatchNorm2d(8)]
    limit = Short(world.rank if short else None)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), *norm, nn.ReLU(), nn.Dropout2d(0.0 if short else 0.1), limit,
        nn.Conv2d(8, 16, 3, bias=False), *([] if name == "plain" else [nn.BatchNorm2d(16)]), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.0 if short else 0.2), nn.Linear(16, 3))
    plan = resolve(facts, 5, None, {**settings, "batchnorm": "moving"})
    def validate():
        net.eval()
        limit.most, most = 1000, limit.most
        with torch.no_grad():
            logits = net(torch.from_numpy(rows))
        limit.most = most
        return nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item(), 0.5
    groups = parameter_groups(net.named_parameters(), plan.lr, plan.weight_decay)
    trainer = Trainer(net, ArraySource(rows, labels, 5), validate, plan, Machine(torch.device("cpu"), False, ""),
                      Path(sys.argv[1], f"{name}{short}{world.size}"), groups, world=world)
    found = trainer.run()
    return net.state_dict(), [row.train_loss for row in found.history], trainer.state.micro_batch

def trainings(world):
    made = {"plain": train(world, "plain"), "moving": train(world, "moving"), "short": train(world, "plain", True)}
    if world.size > 1:
        made["moving and short"] = train(world, "moving", True)
    return made

with joined() as world:
    made = trainings(world)
torch.save(made, Path(sys.argv[1], str(world.rank)))
if world.first:
    torch.save(trainings(ALONE), Path(sys.argv[1], "alone"))
"""


@pytest.mark.slow
def test_steps_are_those_of_one_process(tmp_path: Path) -> None:
    script = tmp_path / "steps.py"
    script.write_text(SCRIPT)
    done = together([script, tmp_path], 3)
    assert all(each.code == 0 for each in done), done
    one, several = torch.load(tmp_path / "alone"), [torch.load(tmp_path / str(rank)) for rank in range(3)]
    for name in ("plain", "moving", "short"):
        weights, losses, at_a_time = several[0][name]
        assert losses == pytest.approx(one[name][1], abs=1e-6), name
        assert max(float((weights[k] - v).abs().max()) for k, v in one[name][0].items()) < 1e-6, name
        assert at_a_time == (6 if name == "short" else 12)
    for other in several[1:]:  # bit for bit the same in all of them
        for name, (weights, _, at_a_time) in other.items():
            assert all(torch.equal(v, several[0][name][0][k]) for k, v in weights.items()), name
            assert at_a_time == several[0][name][2]
    assert several[0]["moving and short"][2] == 6


class Rank(World):
    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.mark.parametrize(("photos", "at_most", "size"), [(32, 32, 2), (31, 32, 3), (30, 7, 2), (14, 4, 3), (5, 2, 4)])
def test_pieces_are_the_whole_batch(photos: int, at_most: int, size: int) -> None:
    each = [pieces(photos, at_most, Rank(rank, size)) for rank in range(size)]
    for of_all in zip(*each, strict=True):
        assert [one.offset for one in of_all] == [sum(p.last - p.first for p in of_all[:r]) for r in range(size)]
        assert {one.photos for one in of_all} == {sum(one.last - one.first for one in of_all)}
        assert of_all[0].photos <= at_most + size
    for rank, own in enumerate(each):
        first, last = Rank(rank, size).part(0, photos)
        assert [own[0].first, own[-1].last] == [0, last - first]


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 5)])
def test_statistics_are_batch_norms(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    plain, ours = (kind(4).double() for _ in range(2))
    x = torch.randn(shape, dtype=torch.float64) * 3 + 1
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    (plain(a) ** 3).sum().backward()
    with Exchange(World(), ours, torch.device("cpu")).as_one(Piece(0, 6, 0, 6)):
        found = ours(b)
    (found**3).sum().backward()
    assert torch.allclose(a.grad, b.grad, rtol=1e-9)  # type: ignore[arg-type]
    for one, other in zip(plain.state_dict().values(), ours.state_dict().values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-12)


ROW, MAP = (5,), (5, 3, 3)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout(0.4), ROW), (nn.Dropout(0.4), MAP), (nn.Dropout1d(0.4), (5, 3)), (nn.Dropout2d(0.4), MAP),
        (nn.Dropout3d(0.4), (5, 3, 2, 2)), (nn.AlphaDropout(0.4), MAP), (nn.FeatureAlphaDropout(0.4), MAP),
    ],
)  # fmt: skip
def test_each_process_has_its_part_of_one_mask(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.ones(7, *shape)
    if len(shape) == 3:  # a network is trained in this order of memory, and a mask is drawn in it
        x = x.to(memory_format=torch.channels_last)
    torch.manual_seed(3)
    whole, parts, first = layer(x), [], 0
    for size in (3, 0, 4):
        exchange = Exchange(Rank(0, 2), layer, torch.device("cpu"))
        torch.manual_seed(3)
        with exchange.as_one(Piece(0, size, first, 7)):
            parts.append(layer(x[first : first + size]))
        first += size
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(parts[0], x[:3])


class Told(Rank):
    """Keeps what this process says of itself: whether its memory is short."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.said = list[float]()

    def stack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.said.append(float(tensor[0]))
        return torch.stack([tensor, torch.zeros_like(tensor)])


def test_memory_that_is_short_for_the_gradients_together_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others, were they told that all is well, would wait for gradients that never come."""

    def short(*_: object) -> torch.Tensor:
        raise RuntimeError("CUDA out of memory. Tried to allocate")

    world = Told()
    exchange = Exchange(world, nn.Linear(2, 2), torch.device("cpu"))
    monkeypatch.setattr(torch, "cat", short)
    with pytest.raises(RuntimeError, match="out of memory"):
        exchange.step(lambda: (1.0, 1), False)
    assert world.said == [1.0]


def test_a_parameter_that_no_process_used_has_no_gradient() -> None:
    network = nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)])
    exchange = Exchange(Told(), network, torch.device("cpu"))
    used, unused = network[0].weight, network[1].weight
    used.grad = torch.ones_like(used)
    exchange.step(lambda: (1.0, 1), False)
    assert used.grad.tolist() == [[1, 1]]
    assert unused.grad is None
