"""Fetch published weights and verify them, from an address or from the Hugging Face hub.

torchvision's file names contain the first digits of their SHA-256; the hub announces all of it. A file that does not
match is deleted. HEADSTART_MIRROR replaces the address, HF_ENDPOINT the hub's.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from headstart.core.download import download
from headstart.core.paths import cache_dir
from headstart.core.text import brief
from headstart.errors import DownloadError, WeightsError

# Names of weights on the hub, the one that cannot hold code first.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
MOST_WEIGHTS = 50 << 30
"""Bytes of a file of weights: those of timm's largest network are 27 GB."""
_INSTEAD = "Without a network: `weights=FILE` (a checkpoint fetched elsewhere), or `backbone='starter'`, which ships."


def place(url: str) -> Path:
    """Where the file of an address is kept."""
    return cache_dir() / "weights" / url.rpartition("/")[2]


def from_url(url: str) -> Path:
    """The file of an address; digits at the end of its name (``resnet18-f37072fd.pth``) are the start of its SHA-256.
    Raises WeightsError.
    """
    to = place(url)
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", to.name)
    try:
        return download(url, to, sha256=digits[1] if digits else "", hint=_INSTEAD)
    except DownloadError as error:
        raise WeightsError(f"the weights could not be fetched: {error.problem}", error.hint) from error


def in_hub_cache(repo: str) -> Path | None:
    """The weights of a repository if they are on this machine already."""
    from huggingface_hub import try_to_load_from_cache

    repo, _, revision = repo.partition("@")
    found = (try_to_load_from_cache(repo, name, revision=revision or None) for name in _HUB_FILES)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def from_hub(repo: str) -> Path:
    """The weights of a repository (``owner/name`` or ``owner/name@revision``). Raises WeightsError.

    The hub's cache comes first: a file that is there needs no network, not even to ask whether it is the newest.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = repo.partition("@")
    try:
        if (known := in_hub_cache(repo)) is not None:
            return _verified(known, known.resolve().name, name)
        for file in _HUB_FILES:
            try:
                return hub_file(name, file, revision or None, MOST_WEIGHTS)
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError):
                    raise
    except DownloadError as error:
        raise WeightsError(error.problem, f"{error.hint} {_INSTEAD}") from None
    except transport_errors() as error:
        reason = brief(error)
        problem = f"the weights of {name} could not be fetched from the Hugging Face hub ({reason})"
        raise WeightsError(problem, _INSTEAD) from error
    raise WeightsError(f"{name} on the Hugging Face hub holds none of {', '.join(_HUB_FILES)}", _INSTEAD)


def hub_file(repo: str, name: str, revision: str | None, at_most: int) -> Path:
    """A file of a repository, from the hub or, without a network, from its cache; its bytes are those that its tag
    announces.

    Raises:
        DownloadError: it is larger than ``at_most`` bytes, or its bytes are others; a damaged file is deleted.
        LocalEntryNotFoundError: no network, and it was not fetched before.
        EntryNotFoundError, or one of ``transport_errors``: see the hub's client.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    source: dict[str, Any] = {"revision": revision, "endpoint": os.environ.get("HF_ENDPOINT") or None}
    try:
        announced = get_hf_file_metadata(hf_hub_url(repo, name, **source))
    except transport_errors() as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, HfHubHTTPError) and status is not None and status < 500:
            raise
        try:
            path = Path(hf_hub_download(repo, name, local_files_only=True, **source))
        except LocalEntryNotFoundError:
            raise LocalEntryNotFoundError(brief(error)) from error
        return _verified(path, path.resolve().name, repo)
    if announced.size is None or announced.size > at_most:
        size = "an unknown number of" if announced.size is None else f"{announced.size:,}"
        raise DownloadError(f"{name} of {repo} has {size} bytes, more than the {at_most:,} of any headstart uses")
    return _verified(Path(hf_hub_download(repo, name, **source)), announced.etag or "", repo)


def _verified(path: Path, tag: str, repo: str) -> Path:
    """The file, if its bytes have the hash that the hub's tag is: SHA-256 of a large file, git's SHA-1 of a small one.
    The hub's cache names files by their tags, so they are compared without a network too.
    """
    facts = path.stat()
    if (found := _digest(path, tag, facts.st_size, facts.st_mtime_ns)) == tag:
        return path
    for place in (path.resolve(), path):
        place.unlink(missing_ok=True)
    raise DownloadError(
        f"{path.name} of {repo} is damaged (its hash is {found[:8]}, the hub announced {tag[:8]}); it was deleted",
        "Run the same command again to fetch it anew.",
    )


@cache
def _digest(path: Path, tag: str, size: int, changed: int) -> str:
    """The hash of the kind that a tag has, once per state of a file; the tag itself where it is of no known kind."""
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", tag):
        return tag
    digest = hashlib.sha256() if len(tag) == 64 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def transport_errors() -> tuple[type[Exception], ...]:
    """The hub client's own errors, and those of the HTTP library that it is built on."""
    from huggingface_hub import errors

    transport: type[Exception] = getattr(errors, "HTTPError", OSError)  # another library's with each major version
    return (OSError, ValueError, errors.HfHubHTTPError, transport)
