"""Fetch published weights and verify them, from an address or from the Hugging Face hub.

torchvision's files carry the first digits of their SHA-256 in their names; the hub announces the whole of it. A file
whose bytes are not the announced ones is deleted. HEADSTART_MIRROR replaces the address, HF_ENDPOINT the hub's.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from headstart.core.download import download
from headstart.core.paths import cache_dir
from headstart.errors import DownloadError, WeightsError

# Names of weights on the hub, the one that holds no code first.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_INSTEAD = "Without a network: `weights=FILE` (a checkpoint fetched elsewhere), or `backbone='starter'`, which ships."


def place(url: str) -> Path:
    """Where the file of an address is kept."""
    return cache_dir() / "weights" / url.rpartition("/")[2]


def from_url(url: str) -> Path:
    """The file of an address; where its name ends in digits (``resnet18-f37072fd.pth``), they are the start of its
    SHA-256. Raises WeightsError.
    """
    to = place(url)
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", to.name)
    try:
        return download(url, to, sha256=digits[1] if digits else "", hint=_INSTEAD)
    except DownloadError as error:
        raise WeightsError(f"the weights could not be fetched: {error.problem}", error.hint) from error


def from_hub(repo: str) -> Path:
    """The weights of a repository (``owner/name`` or ``owner/name@revision``). Raises WeightsError.

    The hub's cache comes first: a file that is there needs no network, not even to ask whether it is the newest.
    """
    known = in_hub_cache(repo)
    if known is not None:
        return known
    repo, revision = _revision(repo)
    path, announced = _download_from_hub(repo, revision)
    _verify(path, announced, repo)
    return path


def _revision(repo: str) -> tuple[str, str | None]:
    """``owner/name@revision`` parted; None stands for the main one."""
    repo, _, revision = repo.partition("@")
    return repo, revision or None


def in_hub_cache(repo: str) -> Path | None:
    """The weights of a repository where they are on this machine already."""
    from huggingface_hub import try_to_load_from_cache

    repo, revision = _revision(repo)
    found = (try_to_load_from_cache(repo, name, revision=revision) for name in _HUB_FILES)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _download_from_hub(repo: str, revision: str | None) -> tuple[Path, str | None]:
    """(file, announced SHA-256 or None where the hub announces another kind of tag), for the first of the names that
    the repository has.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT") or None
    for name in _HUB_FILES:
        try:
            tag = get_hf_file_metadata(hf_hub_url(repo, name, revision=revision, endpoint=endpoint)).etag
            path = hf_hub_download(repo, name, revision=revision, endpoint=endpoint)
            return Path(path), tag if tag and re.fullmatch(r"[0-9a-f]{64}", tag) else None
        except LocalEntryNotFoundError as error:
            raise _unreachable(repo, error) from error
        except EntryNotFoundError:
            continue
        except transport_errors() as error:
            raise _unreachable(repo, error) from error
    raise WeightsError(f"{repo} on the Hugging Face hub holds none of {', '.join(_HUB_FILES)}", _INSTEAD)


def transport_errors() -> tuple[type[Exception], ...]:
    """What the hub's client lets through: its own errors, and those of the HTTP library that it is built on."""
    from huggingface_hub import errors

    transport: type[Exception] = getattr(errors, "HTTPError", OSError)  # another library's with each major version
    return (OSError, ValueError, errors.HfHubHTTPError, transport)


def _unreachable(repo: str, error: Exception) -> WeightsError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return WeightsError(f"the weights of {repo} could not be fetched from the Hugging Face hub ({reason})", _INSTEAD)


def _verify(path: Path, announced: str | None, repo: str) -> None:
    """Deletes the file and raises WeightsError where its SHA-256 is not the announced one (small files are tagged
    otherwise: not checked).
    """
    if announced is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != announced:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"the file of {repo} arrived damaged (SHA-256 {found[:8]}, announced {announced[:8]}); it was deleted",
            "Run the same command again. " + _INSTEAD,
        )
