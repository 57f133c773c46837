"""The server under load, under fire, and killed.

    python benchmarks/claims/serving.py ASSETS [--clients 64] [--seconds 60] [--malformed 2000]

Trains a probe (ResNet-18, 160 px) on ASSETS/data/animals, serves it on loopback, and prints Markdown:

load       many clients, each one photo at a time: answers per second beside the rate of ``headstart predict`` on the
           same photos, latency, and every status that was seen
malformed  truncated bodies, wrong types, bombs, huge counts, path tricks, and mutations of a good request: every status
kill       SIGKILL in the middle of the load, a new server on the same port: how long until answers come again
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

BOUNDARY = "headstart"
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{{name}}"\r\n\r\n'
PATIENCE = 3.0
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


def request(content: bytes, name: str = "photo.jpg", path: str = "/predict") -> bytes:
    """A whole HTTP request with one file."""
    body = HEAD.format(name=name).encode() + content + TAIL
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> int:
    """The status of one response, read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split(b" ", 2)[1])


# -- the server --


def start(run: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    """A server's process and the port that it listens on."""
    words = [sys.executable, "-m", "headstart", "serve", str(run), "--port", str(port)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"})
    assert process.stderr
    found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())
    assert found
    return process, int(found[1])


async def ready(port: int, photo: bytes) -> None:
    """Wait for the first answer."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(photo))
            assert await answer(reader) == 200
            writer.close()
            return
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.05)


# -- load --


async def client(port: int, bodies: list[bytes], n: int, until: float, seen: list[tuple[float, float, int]]) -> None:
    """One photo after the other on one connection, which is opened again where it breaks; 0 is a broken one."""
    writer = None
    while time.perf_counter() < until:
        began = time.perf_counter()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(bodies[n % len(bodies)])
            status = await answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            status, writer = 0, None
            await asyncio.sleep(0.05)
        seen.append((began, time.perf_counter() - began, status))
        if status == 429:
            await asyncio.sleep(1)
        n += 1


async def load(port: int, bodies: list[bytes], clients: int, seconds: float) -> list[tuple[float, float, int]]:
    """(when it was sent, how long it took, status) of every request."""
    seen: list[tuple[float, float, int]] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, bodies, 7 * n, until, seen) for n in range(clients)))
    return seen


def predict_rate(run: Path, photos: list[Path]) -> float:
    """Photos per second of ``headstart predict``, the network ready before the clock starts."""
    import headstart as hs

    for _ in hs.predict(run, photos[:64] * 12):  # as many as make OpenVINO worth it
        pass
    rates = []
    for _ in range(3):
        answers = hs.predict(run, photos)
        next(answers)  # the network is made ready with the first batch
        began = time.perf_counter()
        count = sum(1 for _ in answers)
        rates.append((count - 31) / (time.perf_counter() - began))
    return statistics.median(rates)


# -- fire --


def malformed(photo: bytes, count: int, seed: int = 0) -> list[bytes]:
    """Requests that are wrong in known ways, then mutations of a good one."""
    rng = np.random.default_rng(seed)
    good = request(photo)
    many = HEAD.format(name="a").encode()
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n".encode()
    made = [
        b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 500, b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n" + kind + b"\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + kind + b"\r\nzz\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET /../../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /explain HTTP/1.1\r\nHost: a\r\n\r\n", b"DELETE /predict HTTP/1.1\r\nHost: a\r\n\r\n",
        request(b""), request(b"text"), request(photo[: len(photo) // 2]), request(photo, "../../../etc/passwd"),
        request(photo, "\r\nX: y"), request(photo, "a" * 100_000), request(photo, path="/explain?label=%00"),
        request(photo, path="/explain?label=" + "x" * 5000), request(png_bomb(60_000)), request(png_bomb(9_000)),
        request((many + b"x\r\n") .join([b""] * 1000)),
    ]  # fmt: skip
    while len(made) < count:
        wrong = bytearray(good)
        head_end = good.index(b"\r\n\r\n")
        # Half of them in the heads, where a parser is: the photo is most of the bytes.
        span = head_end + 300 if rng.random() < 0.5 else len(wrong)
        for _ in range(int(rng.integers(1, 20))):
            at = int(rng.integers(0, min(span, len(wrong))))
            action = rng.integers(3)
            if action == 0:
                wrong[at] = int(rng.integers(256))
            elif action == 1:
                del wrong[at : at + int(rng.integers(1, 200))]
            else:
                wrong[at:at] = rng.bytes(int(rng.integers(1, 50)))
        made.append(bytes(wrong))
    return made[:count]


def png_bomb(side: int) -> bytes:
    """A PNG that promises side x side pixels and holds few bytes."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


async def fire(port: int, requests: list[bytes]) -> Counter[str]:
    """Each on a connection of its own; what came back. A server rightly waits for what was promised and does not come:
    after ``PATIENCE`` the connection is closed.
    """
    seen: Counter[str] = Counter()
    gate = asyncio.Semaphore(64)

    async def one(content: bytes) -> None:
        async with gate:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(content)
                seen[str(await asyncio.wait_for(answer(reader), PATIENCE))] += 1
                writer.close()
            except TimeoutError:  # first: it is an OSError too
                seen["still waited for the rest"] += 1
                writer.close()
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                seen["connection closed"] += 1

    await asyncio.gather(*map(one, requests))
    return seen


# -- the three --


async def measure(run: Path, photos: list[Path], asked: argparse.Namespace) -> None:
    rate = predict_rate(run, photos)
    contents = [path.read_bytes() for path in photos[:500]]
    bodies = [request(content) for content in contents]
    process, port = start(run, 0)
    await ready(port, contents[0])
    seen = await load(port, bodies, asked.clients, asked.seconds)
    tell_load(seen, rate, asked)
    before = resident(process.pid)
    counted = await fire(port, malformed(contents[0], asked.malformed))
    await ready(port, contents[0])
    print(f"\n### {asked.malformed} malformed requests\n\n| answer | requests |\n|---|---|")
    for status, number in sorted(counted.items()):
        print(f"| {status} | {number} |")
    print(f"\nStill answering: yes. Resident memory before and after: {before:.0f} and {resident(process.pid):.0f} MB.")
    await killed(run, process, port, bodies, contents[0], asked)


def tell_load(seen: list[tuple[float, float, int]], rate: float, asked: argparse.Namespace) -> None:
    took = sorted(seconds for _, seconds, status in seen if status == 200)
    span = max(began + seconds for began, seconds, _ in seen) - min(began for began, _, _ in seen)
    statuses = Counter(status for _, _, status in seen)
    print(f"\n### {asked.clients} clients for {asked.seconds:g} s\n")
    print(f"- answers: {len(took)}, {len(took) / span:.0f} per second; statuses {dict(statuses)}")
    print(
        f"- `headstart predict` on the same photos: {rate:.0f} per second; the server has {len(took) / span / rate:.2f}"
    )
    p50, p99 = (1000 * took[int(len(took) * share)] for share in (0.5, 0.99))
    print(f"- latency: p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {1000 * took[-1]:.0f} ms")


async def killed(
    run: Path, process: subprocess.Popen[str], port: int, bodies: list[bytes], photo: bytes, asked: argparse.Namespace
) -> None:
    loading = asyncio.create_task(load(port, bodies, asked.clients, 25))
    await asyncio.sleep(4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    gone = time.perf_counter()
    again, _ = await asyncio.to_thread(start, run, port)
    await ready(port, photo)
    back = time.perf_counter()
    seen = await loading
    after = Counter(status for began, _, status in seen if began > back)
    print("\n### Killed and started again, under load\n")
    print(f"- first answer {back - gone:.1f} s after the kill; statuses from then on {dict(after)}")
    again.send_signal(signal.SIGTERM)
    print(f"- exit after SIGTERM: {again.wait(20)}")


def resident(pid: int) -> float:
    """MB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1000


def trained(assets: Path, folder: Path) -> tuple[Path, list[Path]]:
    """A probe of the animals in a run below ``folder``, and all their photos."""
    import headstart as hs

    photos = assets / "data" / "animals"
    run = hs.train(
        photos, out=folder / "run", strategy="probe", shots=50, image_size=160, quiet=True,
        weights=assets / "weights" / "resnet18.fp16.safetensors",
    )  # fmt: skip
    return run.path, sorted(photos.rglob("*.jpg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--malformed", type=int, default=2000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, photos = trained(asked.assets, Path(folder))
        asyncio.run(measure(run, photos[:: max(1, len(photos) // 2000)], asked))


if __name__ == "__main__":
    main()
