"""Archives that no careful program writes, as bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
from typing import NamedTuple

PNG = bytes.fromhex(  # 1 x 1 px
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db00000"
    "000049454e44ae426082"
)
GOOD = tuple((f"{label}/{number}.png", PNG) for label in ("cat", "dog") for number in range(2))


class Entry(NamedTuple):
    """A member of a tar that is more than a file."""

    name: str
    kind: bytes
    to: str = "../../secret.png"
    size: int | None = None


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED, **fields: object) -> bytes:
    """A zip of the good photos and these; ``fields`` are set on the entries of these."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for i, (name, content) in enumerate((*GOOD, *members)):
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name  # as it stands: the constructor would clean it
            info.compress_type = method
            for field, value in fields.items() if i >= len(GOOD) else ():
                setattr(info, field, value)
            archive.writestr(info, content)
    return out.getvalue()


def tarred(
    *members: tuple[str, bytes] | Entry, format: int = tarfile.PAX_FORMAT, pax: dict[str, str] | None = None
) -> bytes:
    """A tar of the good photos and these."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for member in (*GOOD, *members):
            info = tarfile.TarInfo(member[0])
            if isinstance(member, Entry):
                info.type, info.linkname, info.size = member.kind, member.to, member.size or 0
                archive.addfile(info)
            else:
                info.size, info.pax_headers = len(member[1]), (pax or {}) if member not in GOOD else {}
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def locked_zip() -> bytes:
    """A zip whose first entry says that it is encrypted."""
    data = zipped()
    central = data.index(b"PK\x01\x02")
    return with_byte(with_byte(data, 6, 1), central + 8, 1)


def zip_of_method(method: int) -> bytes:
    """A zip whose entries say that they are packed by a method that nobody here knows."""
    data = bytearray(zipped())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + offset : at + offset + 2] = struct.pack("<H", method)
    return bytes(data)


def overlapping_zip(times: int = 200) -> bytes:
    """A zip whose central directory names one member many times (D. Fifield, "A better zip bomb", 2019)."""
    single = io.BytesIO()
    with zipfile.ZipFile(single, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", bytes(1 << 20))
    data = single.getvalue()
    central, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[central:end]
    tail = bytearray(data[end:])
    tail[8:16] = struct.pack("<HHI", times, times, len(entry) * times)
    return data[:central] + entry * times + bytes(tail)


def header(name: str, size: int | str, kind: bytes = b"0", magic: bytes = b"ustar\x0000") -> bytes:
    """A header of a tar; a ``size`` in text is written as it stands."""
    field = size.encode() if isinstance(size, str) else b"%011o\0" % size
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:108], block[124 : 124 + len(field)], block[156:157] = b"0000644\0", field, kind
    block[257:265], block[148:156] = magic, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def negative_tar() -> bytes:
    """A tar with a file of negative size, which made old versions of tarfile read it for ever (CVE-2025-8194)."""
    block = bytearray(header("cat/9.png", 0))
    block[124:136] = b"\xff" * 10 + struct.pack(">h", -1024)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return _files() + bytes(block) + bytes(1024)


def _files() -> bytes:
    """The good photos as members of a tar without an end."""
    return b"".join(header(name, len(data)) + data.ljust(-len(data) // 512 * -512, b"\0") for name, data in GOOD)


def chained_tar(count: int = 3000) -> bytes:
    """A tar of headers about headers about headers."""
    record = b"11 a=bcdef\n"
    return header("x", len(record), b"x") + (record.ljust(512, b"\0") + header("x", len(record), b"x")) * count


def long_header_tar(claimed: int = 1 << 33, kind: bytes = b"x") -> bytes:
    """A tar whose first header claims gigabytes, compressed: all of them would be read at once."""
    return header("x", claimed, kind) + bytes(4 << 20)


def broken_tar() -> bytes:
    """A tar with a damaged header in its middle, which tarfile takes for its end."""
    whole = _files() + bytes(1024)
    return with_byte(whole, 512 * 4 + 3, 0xFF)


def sparse_tar(size: int = 1 << 42) -> bytes:
    """A tar with an old GNU sparse file, a hole of terabytes."""
    block = bytearray(header("cat/9.png", 0, b"S", b"ustar  \0"))
    block[386:398], block[398:410], block[483:495] = b"%011o\0" % 0, b"%011o\0" % 0, b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return _files() + bytes(block) + bytes(1024)


LINKS = tuple(
    Entry(f"cat/{name}.png", kind)
    for name, kind in {
        "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE,
        "disk": tarfile.BLKTYPE,
    }.items()
)  # fmt: skip
OUTSIDE = (
    "../evil.png", "/evil.png", "cat/../../evil.png", "C:/evil.png", "..\\evil.png", "\\evil.png", "cat/C:/evil.png",
    "C:evil.png", "//host/share/evil.png", "cat\\..\\..\\evil.png", "cat/evil.png\0.txt", "cat/..",
)  # fmt: skip
PACKED = {name: pack(tarred()) for name, pack in (("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress))}
BAD = {
    "empty": b"", "noise": bytes(range(256)) * 4,
    "locked zip": locked_zip(), "method 99": zip_of_method(99), "zstd in a zip": zip_of_method(93),
    "deflate that is none": zip_of_method(8), "bzip2 that is none": zip_of_method(12),
    "lzma that is none": zip_of_method(14), "overlapping": overlapping_zip(),
    "wrong crc": zipped(("cat/9.png", b"abcdefgh")).replace(b"abcdefgh", b"abcdefgi"),
    "chain of headers": chained_tar(), "negative size": negative_tar(), "broken in the middle": broken_tar(),
    "long pax header": gzip.compress(long_header_tar()), "long name header": bz2.compress(long_header_tar(kind=b"L")),
    "sparse": sparse_tar(), "truncated zip": zipped()[:-30], "truncated tar": tarred()[:1400],
    **{f"truncated {name}": data[: len(data) // 2] for name, data in PACKED.items()},
    **{f"damaged {name}": with_byte(data, 60, data[60] ^ 0xFF) for name, data in PACKED.items()},
    **{f"outside: {name!r} in a zip": zipped((name, b"evil")) for name in OUTSIDE},
    **{f"outside: {name!r} in a tar": tarred((name, b"evil"), pax={"path": name}) for name in OUTSIDE},
}  # fmt: skip
"""What must be refused in one message."""
TAKEN, DEEP = "an earlier member has the name", "folders deep"
LEFT_OUT = {
    "links in a tar": (tarred(*LINKS), 5, "links and devices"),
    "a link in a zip": (zipped(("cat/l", b"/etc/passwd"), create_system=3, external_attr=0o120777 << 16), 1, "links"),
    "one name twice in a zip": (zipped(("cat/0.png", b"other")), 1, TAKEN),
    "one name twice in a tar": (tarred(("cat/0.png", b"other"), ("./cat//0.png", b"more")), 2, TAKEN),
    "a file that is a folder": (zipped(("cat/0.png/x.png", PNG)), 1, TAKEN),
    "a folder that is a file": (tarred(("cat", PNG)), 1, TAKEN),
    "too long a name": (zipped((f"cat/{'x' * 300}.png", PNG)), 1, "no names for files here"),
    "too long a folder": (tarred((f"{'x' * 300}/1.png", PNG)), 1, "no names for files here"),
    "too deep": (zipped((f"cat/{'d/' * 3000}1.png", PNG)), 1, DEEP),
    "too deep in a tar": (tarred((f"cat/{'d/' * 3000}1.png", PNG)), 1, DEEP),
}  # fmt: skip
"""Archives with the good photos, and members that are left out: how many, and why."""
HARMLESS = {
    "names without anything": (zipped(("", b""), ("/" * 0 + "./", b""), ("cat/./", b"")), 4),
    "folders of Windows": (zipped(("owl\\", b""), ("owl\\1.png", PNG)), 5),
    "two cases": (zipped(("Cat/1.png", PNG)), 5),
    "Latin-1 in a zip": (zipped(("caf\xe9/1.png", PNG)), 5),
    "bytes in a tar": (tarred(("caf\udce9/1.png", PNG), format=tarfile.GNU_FORMAT), 5),
    "a zip at the end of a tar": (tarred(("more.txt", zipped())), 4),
    "overlong pax": (tarred(("cat/9.png", PNG), pax={"comment": "x" * 5000}), 5),
    **{name: (data, 4) for name, data in PACKED.items()},
    "lzma alone": (lzma.compress(tarred(), lzma.FORMAT_ALONE), 4),
}  # fmt: skip
"""Archives that are read, and the number of their photos."""
