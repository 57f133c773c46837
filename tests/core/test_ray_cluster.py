"""A Ray cluster that cannot be reached or cannot do the work, and one of this process alone that leaves nothing."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from headstart.core import ray_cluster, ray_executor
from headstart.core.events import Event, Events
from headstart.core.executor import EXECUTORS, LocalExecutor, find_executor
from headstart.core.ray_executor import RayExecutor, Request
from headstart.errors import HeadstartError, OptionError, RunError

FIRST: dict[str, Any] = {"NodeID": "a", "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": 8.0, "GPU": 2.0}}
SECOND: dict[str, Any] = {"NodeID": "b", "NodeManagerAddress": "10.0.0.2", "Resources": {"CPU": 4.0}}


@pytest.mark.parametrize(
    ("text", "address", "cpus", "gpus"),
    [
        ("ray", "", None, None),
        ("ray:auto", "auto", None, None),
        ("ray:10.0.0.1:6379", "10.0.0.1:6379", None, None),
        ("ray:head:6379,cpus=2,gpus=0.5", "head:6379", 2, 0.5),
        ("ray,cpus=4", "", 4, None),
    ],
)
def test_address_and_request_follow_the_name(text: str, address: str, cpus: int | None, gpus: float | None) -> None:
    found = find_executor(text)
    assert isinstance(found, RayExecutor)
    assert (found.address, found.cpus, found.gpus) == (address, cpus, gpus)
    assert found is not EXECUTORS.get("ray")  # the next call may name another address


@pytest.mark.parametrize(
    "text",
    [
        "ray,cpu=2", "ray:h:1,cpus=0", "ray,cpus=two", "ray,", "local:here",
        *[f"ray,gpus={number}" for number in ("-1", "nan", "inf", "1.5")],
    ],
)  # fmt: skip
def test_what_cannot_be_read_after_the_name_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        find_executor(text)
    assert caught.value.option == "executor"
    assert text.partition(",")[2].partition(",")[0] in str(caught.value)


def test_local_stays_what_it_is() -> None:
    assert isinstance(find_executor("local"), LocalExecutor)


@pytest.mark.parametrize(
    ("device", "nodes", "request_", "slots"),
    [
        ("auto", [SECOND], Request(1, 0.0), 4),
        ("auto", [FIRST, SECOND], Request(4, 1.0), 2),
        ("cpu", [FIRST, SECOND], Request(1, 0.0), 12),
        ("cuda", [SECOND], Request(1, 1.0), 0),
    ],
)
def test_the_request_follows_from_device_and_nodes(device: str, nodes: Any, request_: Request, slots: int) -> None:
    found = RayExecutor()._chosen(device, nodes)
    assert found == request_
    assert sum(map(found.fits, nodes)) == slots


def test_part_of_a_gpu_gets_part_of_its_cores() -> None:
    found = RayExecutor(gpus=0.5)._chosen("auto", [FIRST])
    assert (found, found.fits(FIRST)) == (Request(2, 0.5), 4)


def test_a_job_on_a_gpu_asks_for_one() -> None:
    with pytest.raises(OptionError, match="needs a GPU"), RayExecutor(gpus=0.0).session("cuda", Events()):
        pass


@pytest.mark.parametrize(("gpus", "seen"), [(0.0, ""), (0.5, "1"), (1.0, "1")])
def test_a_job_without_a_gpu_sees_none(gpus: float, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    ray_cluster.keep_to(torch.get_num_threads(), gpus)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r'pip install "headstart\[ray\]"'), ray_cluster.connected():
        pass


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where something listens, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_where_nothing_listens_is_told_with_the_address() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'headstart[ray]'")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RunError, match=f"No Ray cluster at 127.0.0.1:{port}: Connection refused"):
        ray_cluster._refuse_unreachable(f"127.0.0.1:{port}")


def test_what_is_no_cluster_is_told_within_seconds(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'headstart[ray]'")
    assert ray_cluster.SECONDS_TO_ANSWER + 8 < 30  # with the seconds that a connection may take
    monkeypatch.setattr(ray_cluster, "SECONDS_TO_ANSWER", 3)
    with pytest.raises(RunError, match=f"What listens at 127.0.0.1:{silent_port} has not answered as a Ray cluster"):
        ray_cluster._refuse_unreachable(f"127.0.0.1:{silent_port}")


@pytest.mark.parametrize("address", ["ray://head:10001", "head", ":6379", "head:port"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(OptionError, match="is no HOST:PORT of a cluster"):
        ray_cluster._refuse_unreachable(address)


def test_an_address_in_the_environment_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'headstart[ray]'")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(OptionError, match=r"^RAY_ADDRESS: 'ray://head:10001' is no HOST:PORT"), ray_cluster.connected():
        pass
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(RunError, match=rf"No Ray cluster at 127.0.0.1:{port} \(RAY_ADDRESS\)"), ray_cluster.connected():
        pass


def test_the_command_line_tells_it_in_one_message(cli: Any, refused: Any, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'headstart[ray]'")
    answer = cli("compare", photos, "--executor", "ray:127.0.0.1:1", "--out", tmp_path / "out")
    refused(answer, "No Ray cluster at 127.0.0.1:1", "Connection refused")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("… ModuleNotFoundError: No module named 'headstart'\n"), "headstart is not installed there."),
        (RuntimeError("No module named 'headstart.core'"), "headstart is not installed there."),
        (RuntimeError("x No module named 'timm' y"), "the package timm is not installed there."),
        (RuntimeError("anything else"), ""),
    ],
)
def test_a_node_without_a_package_is_recognised(error: Exception, words: str) -> None:
    assert ray_cluster.trouble(error) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("WorkerCrashedError", "its process ended again and again"),
        ("ActorDiedError", "its process ended again and again"),
        ("RaySystemError", "Ray could not run it (RaySystemError: "),
    ],
)
def test_only_of_a_process_that_ended_it_is_said(name: str, words: str) -> None:
    of_ray = pytest.importorskip("ray.exceptions", reason="Ray is not installed: pip install 'headstart[ray]'")
    error = getattr(of_ray, name)(*(["the object store is gone"] if name == "RaySystemError" else []))
    assert f"part 3: {words}" in str(ray_executor._for_user(error, "part 3"))


class FakeRay:
    """What executors ask Ray for, of these nodes. A task is its own reference, and never ends."""

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        self._nodes, self.cancelled = nodes, list[Any]()

    def nodes(self) -> list[dict[str, Any]]:
        return [{**node, "Alive": True} for node in self._nodes]

    def remote(self, *_: Any) -> Any:
        inner: Future[Any] = Future()
        return SimpleNamespace(future=lambda: inner)

    def cancel(self, reference: Any) -> None:
        self.cancelled.append(reference)


def test_a_cancelled_job_is_cancelled_on_ray_too() -> None:
    executor, fake = RayExecutor(), FakeRay([])
    executor._ray = executor._task = fake
    first, second = executor.submit(abs, 1), executor.submit(abs, 2)
    assert first.cancel()
    second.set_result(2)
    assert len(fake.cancelled) == 1
    late = executor.submit(abs, 3)
    executor._ray = None  # the session is over, and Ray has ended its jobs
    assert late.cancel()
    assert len(fake.cancelled) == 1


def test_news_tell_nodes_that_left_and_came() -> None:
    executor = RayExecutor()
    executor._ray, executor._known = FakeRay([SECOND]), {"a": "10.0.0.1", "b": "10.0.0.2"}
    assert executor.news() == ["The node 10.0.0.1 has left the Ray cluster: its jobs start again on another."]
    assert (executor.news(), executor.slots) == ([], 4)
    executor._ray = FakeRay([])
    assert executor.news()[-1] == "No node has 1 core for a job now: waiting for one."
    executor._ray = FakeRay([FIRST])
    assert executor.news() == ["The node 10.0.0.1 has joined the Ray cluster."]


# -- one Ray of this process, for all that follows: starting it takes seconds --


def fail(_: object) -> None:
    raise OptionError("This cannot be.", "Change it.", option="shots")


def break_(_: object) -> None:
    raise ZeroDivisionError("a mistake in the work")


def half(number: int) -> int:
    if number % 2:
        fail(number)
    return number // 2


def wait_long(path: str) -> None:
    """Works until it is stopped, and says that it was."""
    Path(path).touch()
    try:
        for _ in range(3000):
            time.sleep(0.1)  # an interruption from within the process is seen between two of them
    except KeyboardInterrupt:
        Path(f"{path}-stopped").touch()
        raise


def cancel(executor: RayExecutor, path: Path) -> None:
    """A job that runs ends."""
    future = executor.submit(wait_long, str(path))
    appears(path)
    assert future.cancel()
    appears(path.with_name(f"{path.name}-stopped"))


def appears(path: Path) -> None:
    ends = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < ends, f"{path} has not appeared"
        time.sleep(0.05)


def die(path: str) -> str:
    """Ends the process at the first call."""
    if not os.path.exists(path):
        Path(path).touch()
        os._exit(7)
    return f"{os.getcwd()} {os.environ['HEADSTART_CACHE']}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Ray calls other systems experimental")
def test_jobs_on_a_ray_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Results, errors and a killed process; what a node does not see; and nothing printed or left afterwards."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'headstart[ray]'")
    heard: list[Event] = []
    monkeypatch.chdir(tmp_path)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's processes do not find this file
    executor = find_executor("ray,cpus=1")
    assert isinstance(executor, RayExecutor)
    with executor.session("cpu", Events(heard.append)):
        place = ray_cluster._import_ray()._private.worker._global_node.get_session_dir_path()
        assert "1 core each" in str(heard[0])
        assert executor.submit(die, str(tmp_path / "died")).result(60) == f"{tmp_path} {tmp_path / 'own-cache'}"
        with pytest.raises(OptionError, match="This cannot be") as told:
            executor.submit(fail, None).result(60)
        assert (told.value.option, told.value.hint) == ("shots", "Change it.")
        with pytest.raises(ZeroDivisionError, match="a mistake in the work"):
            executor.submit(break_, None).result(60)
        with pytest.raises(HeadstartError, match="This cannot be"):
            list(executor.stream(half, [2, 4, 1]))
        cancel(executor, tmp_path / "waits")
        (tmp_path / "here").mkdir()
        executor.check([str(tmp_path)], tmp_path / "here")
        assert not list((tmp_path / "here").iterdir())
        _sees_less(executor, tmp_path, monkeypatch)
    with ray_cluster.connected() as again:  # a process may do so more than once
        assert again.cluster_resources()["CPU"] >= 1
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    time.sleep(0.5)
    assert not os.path.exists(place)
    assert "RAY_AUTH_TOKEN" not in os.environ


def _sees_less(executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes do not see what this process believes to see."""
    real = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: str(path) == "/not/there" or real(path))
    with pytest.raises(RunError) as caught:
        executor.check(["/not/there"], tmp_path / "here")
    assert "does not see /not/there." in str(caught.value)
    monkeypatch.setattr(os.path, "exists", real)
    monkeypatch.setattr(ray_cluster, "__version__", "0.0.1")
    with pytest.raises(RunError, match="Ray's nodes cannot do this work") as caught:
        executor.check([], tmp_path / "here")
    assert "here it is 0.0.1" in str(caught.value)
