"""onnxruntime-web, which computes in the browser: from its npm package, or downloaded once and verified.

It is pinned to one version by checksums: that is the one whose answers are tested.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from headstart.core.download import download
from headstart.core.events import Events
from headstart.core.paths import cache_dir
from headstart.errors import DownloadError, OptionError, option

VERSION = "1.30.0"
ADDRESS = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
CHECKSUMS = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of each file."""
LARGEST = 64 << 20
"""Bytes of a file; the larger of the two has 14 MB."""
INSTEAD = (
    f"Without a network: `npm pack onnxruntime-web@{VERSION}` elsewhere, and "
    f"`web_runtime='onnxruntime-web-{VERSION}.tgz'`."
)


def runtime_files(given: Path | None, events: Events) -> dict[str, Path]:
    """Each file by name, in the cache or where the user has it.

    Args:
        given: the npm package: a folder (or its ``dist``) or a ``.tgz``. None: the cache, or a download into it.
        events: told of a download.

    Raises:
        OptionError: ``given`` is not that package, or another version of it.
        DownloadError: the files cannot be fetched.
    """
    kept = cache_dir() / "onnxruntime-web" / VERSION
    if given is None:
        return {name: _fetched(name, kept, events) for name in CHECKSUMS}
    if given.is_dir():
        return {name: _verified(_within(given, name), given) for name in CHECKSUMS}
    _unpack(given, kept)
    return {name: kept / name for name in CHECKSUMS}


def _fetched(name: str, kept: Path, events: Events) -> Path:
    def progress(done: int, total: int) -> None:
        events.progress(f"downloading {name}", done, total)

    try:
        return download(
            ADDRESS + name, kept / name, sha256=CHECKSUMS[name], at_most=LARGEST, progress=progress, hint=INSTEAD
        )
    except DownloadError as error:
        raise DownloadError(f"onnxruntime-web could not be fetched: {error.problem}", error.hint) from error


def _within(folder: Path, name: str) -> Path:
    """The file in the folder of the package, of its ``dist``, or where npm installs it."""
    places = [folder / below / name for below in ("", "dist", "package/dist", "node_modules/onnxruntime-web/dist")]
    return next((place for place in places if place.is_file()), places[0])


def _verified(file: Path, given: Path) -> Path:
    """The file, if it is the one expected. Raises OptionError."""
    asked = option("web_runtime", repr(str(given)))
    hint = f"`npm pack onnxruntime-web@{VERSION}` fetches it; without `web_runtime` headstart downloads it."
    if not file.is_file():
        raise OptionError(f"{asked} holds no {file.name}.", hint, option="web_runtime")
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != CHECKSUMS[file.name]:
        problem = f"{asked}: its {file.name} is not that of onnxruntime-web {VERSION}."
        raise OptionError(problem, hint, option="web_runtime")
    return file


def _unpack(package: Path, kept: Path) -> None:
    """Copy the two files of a ``.tgz`` into the cache. Raises OptionError."""
    asked = option("web_runtime", repr(str(package)))
    if not package.is_file():
        raise OptionError(f"{asked}: there is no such file or folder.", option="web_runtime")
    kept.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=kept) as folder:
        try:
            with tarfile.open(package) as archive:
                for member in archive:
                    name = Path(member.name).name
                    if name in CHECKSUMS and member.isfile() and member.size <= LARGEST:
                        source = archive.extractfile(member)
                        assert source is not None
                        with source, (Path(folder) / name).open("wb") as out:
                            shutil.copyfileobj(source, out)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise OptionError(f"{asked} cannot be read as a package of npm: {error}.", option="web_runtime") from None
        for name in CHECKSUMS:
            _verified(Path(folder) / name, package)
        for name in CHECKSUMS:
            (Path(folder) / name).replace(kept / name)
