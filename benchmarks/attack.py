"""A server under attack: does anybody else notice?

    python benchmarks/attack.py ASSETS [--clients 64] [--seconds 20] [--mutations 2000]

Trains a probe (ResNet-18, 160 px) on ASSETS/data/animals, serves it on loopback, and attacks it in ways that a stranger
can. Ordinary clients send photos all the while. Prints one line per attack, then what must hold throughout:

- ordinary clients: p99 of the latency under 1 s
- memory of the server and its processes (PSS): at most 1.5 x of what it is after some ordinary requests
- no response of 5xx, but 503 (no response in time) on purpose; no traceback, and no log to speak of

Leaves with 1 where one of these does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from claims.serving import BOUNDARY, HEAD, TAIL, answer, client, malformed, ready, request, trained
from helpers import hostile

Seen = list[tuple[float, float, int]]
"""(when it was sent, how long it took, status) of every request of ordinary clients; 0 is a broken connection."""
CALM = 8
"""Ordinary clients beside an attack of connections, bodies or malformed requests."""


class Attack(NamedTuple):
    """``send(port, until)`` attacks until then, and returns what came back; ``clients``: ordinary ones meanwhile."""

    name: str
    send: Callable[[int, float], Awaitable[Counter[str]]]
    clients: int


# -- attacks --


def bombs() -> dict[str, bytes]:
    """Hostile files, a whole request each."""
    files = {
        "5000-scans.jpg": hostile.scan_bomb(5000), "480-scans.jpg": hostile.scan_bomb(480, (1500, 1500)),
        "480-scans-9-megapixels.jpg": hostile.scan_bomb(480, (3000, 3000)), "deep.png": hostile.png(7700, 7700, 16),
        "alpha.png": hostile.png(7700, 7700, 8, 6), "rgb.png": hostile.png(7700, 7700, 8, 2),
        "giant.png": hostile.png(17_000, 17_000), "canvas.webp": hostile.webp_canvas(16_000, 16_000),
        "text.pbm": hostile.plain_pbm(2000, 2000), "runs.qoi": hostile.qoi(7000, 7000),
        "icon.ico": hostile.icon(17_000, 17_000), "lines.bmp": hostile.rle_bmp(7000, 7000),
    }  # fmt: skip
    return {name: request(content, name) for name, content in files.items()}


def sending(
    contents: list[bytes], attackers: int, patience: float = 20
) -> Callable[[int, float], Awaitable[Counter[str]]]:
    """Attackers that send these requests, one after the other, each on a connection of its own, which they close after
    ``patience`` seconds without a response.
    """

    async def attack(port: int, until: float) -> Counter[str]:
        found: Counter[str] = Counter()

        async def one(n: int) -> None:
            while time.perf_counter() < until:
                found[await _sent(port, contents[n % len(contents)], patience)] += 1
                n += attackers

        await asyncio.gather(*map(one, range(attackers)))
        return found

    return attack


async def _sent(port: int, content: bytes, patience: float) -> str:
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(content)
        return str(await asyncio.wait_for(answer(reader), patience))
    except TimeoutError:
        return "waited for the rest"
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "closed"
    finally:
        if writer:
            writer.close()


def half_open(count: int, content: bytes, every: float = 0.0) -> Callable[[int, float], Awaitable[Counter[str]]]:
    """Connections that send this and then nothing, or one more byte ``every`` so many seconds. A closed one comes back
    at once.
    """

    async def attack(port: int, until: float) -> Counter[str]:
        found: Counter[str] = Counter()

        async def one() -> None:
            while time.perf_counter() < until:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(content)
                    while time.perf_counter() < until and not writer.transport.is_closing() and not reader.at_eof():
                        await asyncio.sleep(every or 0.5)
                        if every:
                            writer.write(b"x")
                    writer.close()
                except OSError:
                    await asyncio.sleep(0.2)
                found["connections"] += 1

        await asyncio.gather(*(one() for _ in range(count)))
        return found

    return attack


def attacks(photo: bytes, mutations: int, clients: int) -> list[Attack]:
    upload = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    # Declares 30 MB, sends some: each takes its share of the memory for uploads.
    long = f"{upload}Content-Length: 30000000\r\n\r\n".encode() + HEAD.format(name="a.jpg").encode() + bytes(3_000_000)
    parts = b"".join(HEAD.format(name=f"{n}.jpg").encode() + photo + b"\r\n" for n in range(64))
    whole = f"{upload}Content-Length: {len(parts) - 2 + len(TAIL)}\r\n\r\n".encode() + parts[:-2] + TAIL
    return [
        Attack("crafted and mutated requests", sending(malformed(photo, mutations), 16, 0.2), CALM),
        Attack("400 half-sent heads", half_open(400, b"GET / HTTP/1.1\r\nHost: local"), CALM),
        Attack("1,500 half-sent heads", half_open(1500, b"GET / HTTP/1.1\r\nHost: local"), CALM),
        Attack("400 heads, a byte at a time", half_open(400, b"GET / HTTP/1.1\r\n", 0.5), CALM),
        Attack("100 uploads of 30 MB that stop", half_open(100, long), CALM),
        Attack("requests of 64 photos", sending([whole], 4), CALM),
        Attack("bombs among ordinary clients", sending(list(bombs().values()), 8), clients - 8),
    ]


# -- what holds --


async def under(attack: Attack, port: int, bodies: list[bytes], seconds: float) -> tuple[Counter[str], Seen]:
    """What the attack saw, and what ordinary clients saw meanwhile."""
    seen: Seen = []
    until = time.perf_counter() + seconds
    ordinary = (client(port, bodies, 7 * n, until, seen) for n in range(attack.clients))
    found, *_ = await asyncio.gather(attack.send(port, until), *ordinary)
    return found, seen


def memory(pid: int) -> float:
    """MB of a process and its children, shared pages counted once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    total = 0
    for each in (str(pid), *children):
        try:
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii"), re.M)
        except OSError:  # it has just ended
            continue
        total += int(found[1]) if found else 0
    return total / 1000


async def watch(pid: int, peaks: list[float]) -> None:
    while True:
        peaks.append(await asyncio.to_thread(memory, pid))
        await asyncio.sleep(0.2)


def p99(seen: Seen) -> float:
    took = sorted(seconds for _, seconds, status in seen if status == 200)
    return took[int(len(took) * 0.99)] if took else float("inf")


async def measure(run: Path, photos: list[bytes], asked: argparse.Namespace) -> bool:
    bodies = [request(content) for content in photos]
    log = Path(tempfile.mkstemp(suffix=".log")[1])
    words = [sys.executable, "-m", "headstart", "serve", str(run), "--port", "0"]
    with log.open("wb") as sink:
        process = subprocess.Popen(words, stderr=sink)
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(encoding="utf-8"))):
            await asyncio.sleep(0.1)
            if process.poll() is not None:
                sys.exit(f"The server did not start:\n{log.read_text(encoding='utf-8')}")
        port = int(found[1])
        await ready(port, photos[0])
        none = Attack("none", sending([], 0), asked.clients)
        _, seen = await under(none, port, bodies, asked.seconds)
        print(
            f"No attack, {asked.clients} clients: {len(seen) / asked.seconds:.0f} per second, p99 {p99(seen):.2f} s.\n"
        )
        await asyncio.sleep(2)
        idle = memory(process.pid)
        started = log.stat().st_size
        worst, statuses, peak = await _attack_all(process.pid, port, bodies, asked)
        said = log.read_text(encoding="utf-8")[started:]
        return _tell(worst, statuses, peak, idle, said)
    finally:
        process.terminate()
        print(f"- exit code after SIGTERM: {process.wait(30)}")
        log.unlink()


async def _attack_all(
    pid: int, port: int, bodies: list[bytes], asked: argparse.Namespace
) -> tuple[float, Counter[str], float]:
    print("| attack | what it got | ordinary clients: per second | p50 | p99 | other answers | peak MB |")
    print("|---|---|---:|---:|---:|---|---:|")
    worst, every, top = 0.0, Counter[str](), 0.0
    photo = bodies[0].partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")[2][: -len(TAIL)]
    for attack in attacks(photo, asked.mutations, asked.clients):
        peaks: list[float] = []
        watching = asyncio.create_task(watch(pid, peaks))
        found, seen = await under(attack, port, bodies, asked.seconds)
        watching.cancel()
        took = sorted(seconds for _, seconds, status in seen if status == 200) or [float("inf")]
        others = dict(Counter(status for _, _, status in seen if status != 200))
        print(
            f"| {attack.name} | {_words(found)} | {len(took) / asked.seconds:.0f} | {took[len(took) // 2]:.2f} s |"
            f" {p99(seen):.2f} s | {others or 'none'} | {max(peaks):.0f} |",
            flush=True,
        )
        worst, top = max(worst, p99(seen)), max(top, *peaks)
        every += found + Counter(str(status) for _, _, status in seen)
    return worst, every, top


def _words(found: Counter[str]) -> str:
    return ", ".join(f"{status}: {number:,}" for status, number in sorted(found.items()))


def _tell(worst: float, statuses: Counter[str], peak: float, idle: float, said: str) -> bool:
    broken = sum(number for status, number in statuses.items() if status[:1] == "5" and status != "503")
    held = {
        f"p99 of ordinary clients, the worst: {worst:.2f} s (asked: under 1 s)": worst < 1,
        f"memory: idle {idle:.0f} MB, peak {peak:.0f} MB, {peak / idle:.2f} x (asked: 1.5)": peak <= 1.5 * idle,
        f"responses of 5xx: {broken}, and {statuses['503']} of 503": broken == 0,
        f"tracebacks: {said.count('Traceback')}; log: {len(said):,} bytes": "Traceback" not in said
        and len(said) < 5000,
    }
    print(f"\n{said[:1000]}")
    for words, well in held.items():
        print(f"- {'holds' if well else 'DOES NOT HOLD'}: {words}")
    return all(held.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20, help="for each attack")
    parser.add_argument("--mutations", type=int, default=2000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, photos = trained(asked.assets, Path(folder))
        well = asyncio.run(measure(run, [path.read_bytes() for path in photos[:500]], asked))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
