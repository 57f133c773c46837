"""Models from the Hugging Face hub: ``hf:REPO`` to a local folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from headstart.core.files import LARGEST_JSON
from headstart.core.paths import Place
from headstart.core.text import brief
from headstart.errors import DownloadError, OptionError, RunError
from headstart.evaluation.uncertainty import FILE as CERTAINTY
from headstart.models.pretrained import MOST_WEIGHTS, hub_file, transport_errors

PREFIX = "hf:"
MODEL = {"model.json": LARGEST_JSON, "model.safetensors": MOST_WEIGHTS}
"""What ``fetched`` needs, and the most bytes of each; certainty.safetensors is downloaded too if there is one."""


MOST_CERTAINTY = 1 << 30
"""Bytes: a row of features per class, so 20,000 classes may have 100 MB."""


def fetched(place: Place) -> Path:
    """A run folder as it is, or the folder that ``hf:REPO`` or ``hf:REPO@REVISION`` was downloaded to.

    Raises:
        RunError: the repository cannot be downloaded, or holds no headstart model.
    """
    text = os.fspath(place)
    if not text.startswith(PREFIX):
        return Path(text)
    text = text.replace("\\", "/")  # as a Path of Windows writes it
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo, _, revision = text.removeprefix(PREFIX).partition("@")
    _check_name(repo)
    try:
        files = [hub_file(repo, name, revision or None, most) for name, most in MODEL.items()]
        with suppress(EntryNotFoundError, LocalEntryNotFoundError):  # models of older versions have none
            hub_file(repo, CERTAINTY, revision or None, MOST_CERTAINTY)
    except DownloadError as error:
        raise RunError(error.problem, error.hint) from None
    except LocalEntryNotFoundError as error:  # no network, and not fetched before
        raise _refused(repo, error) from None
    except EntryNotFoundError:
        raise RunError(f"{text} holds no headstart model (no {' or no '.join(MODEL)}).") from None
    except transport_errors() as error:
        raise _refused(repo, error) from None
    return files[0].parent


def _check_name(repo: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise OptionError(f"{repo!r} is not the name of a repository: {error}", "Write it as owner/name.") from None


def _refused(repo: str, error: Exception) -> RunError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        problem = f"The hub does not let you use {repo} ({status})."
        return RunError(problem, "Log in with: hf auth login (or set HF_TOKEN).")
    if status == 404:
        return RunError(f"There is no {repo} on the hub, or it is private.", "Log in with: hf auth login")
    problem = f"The hub could not be reached for {repo}: {brief(error)}"
    return RunError(problem, "Try again; HF_ENDPOINT names another hub.")
