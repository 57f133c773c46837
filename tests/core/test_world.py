"""Processes that meet: who did not come, came twice, or says otherwise; and what they exchange."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.ranks import ended, free_port, start, together

from headstart.core.launched import Member, first_host, member
from headstart.core.roll import RankError, Roll
from headstart.core.world import ALONE, Together, joined
from headstart.errors import OptionError

TORCH = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "1234"}
SLURM = {
    "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "40007",
    "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0",
}  # fmt: skip
POD = {"JOB_COMPLETION_INDEX": "2", "WORLD_SIZE": "3", "MASTER_ADDR": "job-0.job"}


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"WORLD_SIZE": "4"}, None),
        (TORCH | {"WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script
        ({"JOB_COMPLETION_INDEX": "2"}, None),  # an Indexed Job of other work
        (TORCH, Member(1, 4, 1, "node1", 1234, "WORLD_SIZE")),
        (TORCH | {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_USE_AGENT_STORE": "True"},
         Member(1, 4, 1, "node1", 1234, "torchrun", hosted=True)),
        (SLURM, Member(5, 8, 1, "gpu03", 15007, "SLURM", "0.0")),
        (SLURM | TORCH, Member(1, 4, 1, "node1", 1234, "WORLD_SIZE")),  # torchrun under srun
        (POD, Member(2, 3, 0, "job-0.job", 29500, "Kubernetes")),
    ],
)  # fmt: skip
def test_a_process_is_recognised_by_its_variables(variables: dict[str, str], found: Member | None) -> None:
    assert member(variables) == found


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        (TORCH | {"RANK": "4"}, "rank 4 of 4"),
        (TORCH | {"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many'"),
        ({"RANK": "0"}, "WORLD_SIZE is not set"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR"),
        (SLURM | {"SLURM_STEP_NODELIST": ""}, "names no host"),
    ],
)
def test_variables_that_contradict_are_refused(variables: dict[str, str], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        member(variables)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("a", "a"), ("gpu[03-05,9],cpu1", "gpu03"), ("n1,n2", "n1"), ("r[1,2]-x", "r1-x"), ("a-b[7]", "a-b7")],
)
def test_the_first_host_of_a_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_a_process_on_its_own_exchanges_nothing() -> None:
    assert (ALONE.part(3, 9), ALONE.tell({"a": 1}), ALONE.each(2)) == ((3, 9), {"a": 1}, [2])


class Late:
    """An exchange that ends just after the wait for it."""

    def __init__(self, problem: str = "") -> None:
        self.problem, self.done = problem, False

    def is_completed(self) -> bool:
        return self.done

    def wait(self, at_most: timedelta | None = None) -> None:
        self.done, before = True, self.done
        if self.problem or not before:
            raise RuntimeError(self.problem if before else "Operation timed out!")


def test_what_is_late_is_not_broken() -> None:
    world, roll = (
        Together.__new__(Together),
        SimpleNamespace(check=lambda: None, broken=lambda cause: RankError(str(cause))),
    )
    world.roll = roll  # type: ignore[assignment]
    world._wait(Late())
    with pytest.raises(RankError, match="reset by peer"):
        world._wait(Late("Connection reset by peer"))


class Leaving:
    """A store that goes away once it has been asked for the beats."""

    def check(self, keys: list[str]) -> bool:
        if keys[0].startswith("ended/"):
            raise RuntimeError("Broken pipe")
        return False


def test_a_store_that_goes_away_at_any_moment_is_told() -> None:
    store: Any = Leaving()
    roll = Roll(Member(1, 3, 1, "node1", 1234, "SLURM"), store, store, _heard=[(b"", 0.0)] * 3)
    with pytest.raises(RankError, match="Rank 0 of 3 has ended: it cannot be reached"):
        roll.check(-1.0)


def test_after_a_failure_a_process_cannot_meet_the_others_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    for name, value in TORCH.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    for mine, word in ((True, "before has failed"), (False, "uses torch.distributed already")):
        monkeypatch.setattr("headstart.core.world._failed", mine)
        with pytest.raises(OptionError, match=word), joined():
            pass


SCRIPT = """
import sys
import numpy as np, torch
from headstart.core.world import joined
from headstart.errors import HeadstartError
from headstart.cli.process import speaks

try:
    for _ in range(2):  # a second time too
        with joined() as world:
            r, n = world.rank, world.size
            assert world.tell({"a": r}) == {"a": 0} and world.each(r) == list(range(n))
            assert world.add(torch.ones(3) * r).tolist() == [sum(range(n))] * 3
            assert world.stack(torch.tensor([r])).tolist() == [[i] for i in range(n)]
            rows = world.gather(np.full((r, 2), r, np.int16))
            assert [one.tolist() for one in rows] == [[[i, i]] * i for i in range(n)] and rows[0].dtype == np.int16
            assert world.copy(np.arange(4.0)[None] if r == 1 else None, 1).tolist() == [[0, 1, 2, 3]]
            for _ in range(2):
                with world.in_turn():
                    pass
            moved = torch.full((2, 3, 2, 2), float(r)).to(memory_format=torch.channels_last)
            world.share([moved])
            assert not moved.any()
    print("ok")
except HeadstartError as error:
    if speaks(error):
        print(error)
    sys.exit(2)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "meet.py").write_text(SCRIPT)
    return tmp_path / "meet.py"


@pytest.mark.slow
def test_what_is_exchanged_arrives(script: Path) -> None:
    done = together([script], 3)
    assert [one.out for one in done] == ["ok\n"] * 3, done


@pytest.mark.slow
def test_a_rank_that_never_comes_is_named(script: Path) -> None:
    port = free_port()
    done = ended(start([script], [0, 1], 3, port, {"HEADSTART_WAIT": "10"}))
    assert [one.code for one in done] == [2, 2]
    assert "Rank 2 of 3 did not come within 10 s" in done[0].out
    assert done[1].out == ""
    (late,) = ended(start([script], [1], 2, port, {"HEADSTART_WAIT": "2"}))
    assert f"Rank 0 of 2 did not come within 2 s: nobody answers at 127.0.0.1:{port}" in late.out


@pytest.mark.slow
def test_ranks_that_say_otherwise_are_named(script: Path) -> None:
    port, brief = free_port(), {"HEADSTART_WAIT": "15"}
    done = ended([*start([script], [0], 2, port, brief), *start([script], [1], 3, port, brief)])
    assert "Rank 1" in done[0].out
    assert "says that there are 3 ranks" in done[0].out
    said = "".join(one.out for one in ended(start([script], [0, 1, 1], 3, free_port(), brief)))
    assert "Another process has come as rank 1 of 3 already" in said
