"""Fetch published weights and verify them, from an address or from the Hugging Face hub.

torchvision's file names contain the first digits of their SHA-256; the hub announces all of it. A file that does not
match is deleted. HEADSTART_MIRROR replaces the address, HF_ENDPOINT the hub's.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from headstart.core.download import download
from headstart.core.paths import cache_dir
from headstart.errors import DownloadError, WeightsError

# Names of weights on the hub, the one that cannot hold code first.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
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
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if (known := in_hub_cache(repo)) is not None:
        return known
    repo, _, revision = repo.partition("@")
    source: dict[str, Any] = {"revision": revision or None, "endpoint": os.environ.get("HF_ENDPOINT") or None}
    for name in _HUB_FILES:
        try:
            announced = get_hf_file_metadata(hf_hub_url(repo, name, **source)).etag or ""
            path = Path(hf_hub_download(repo, name, **source))
        except (EntryNotFoundError, *transport_errors()) as error:
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            reason = first_line(error)
            problem = f"the weights of {repo} could not be fetched from the Hugging Face hub ({reason})"
            raise WeightsError(problem, _INSTEAD) from error
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if (
            not re.fullmatch(r"[0-9a-f]{64}", announced) or found == announced
        ):  # the tag of a small file is another hash
            return path
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"the file of {repo} arrived damaged (SHA-256 {found[:8]}, announced {announced[:8]}); it was deleted",
            f"Run the same command again. {_INSTEAD}",
        )
    raise WeightsError(f"{repo} on the Hugging Face hub holds none of {', '.join(_HUB_FILES)}", _INSTEAD)


def transport_errors() -> tuple[type[Exception], ...]:
    """The hub client's own errors, and those of the HTTP library that it is built on."""
    from huggingface_hub import errors

    transport: type[Exception] = getattr(errors, "HTTPError", OSError)  # another library's with each major version
    return (OSError, ValueError, errors.HfHubHTTPError, transport)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
