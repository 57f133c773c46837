"""Models on a hub. In: a run and a repository's name. Out: the run's model there, or a model from there here.

What goes up is the model, what it knows unknown photos by (a mean of features per class), its card and its figures.
Photos, and tables and pages that show or name them, stay at home; so does the command, which holds paths of this
machine. HF_ENDPOINT names another hub than huggingface.co.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.backbone.hub import transport_errors
from headstart.certainty.certainty import FILE as CERTAINTY
from headstart.classifier import published, read_description, write_json, write_text
from headstart.errors import OptionError, RunError
from headstart.modelcard import model_card
from headstart.voice import Voice

PREFIX = "hf:"
MODEL = ("model.json", "model.safetensors")
"""What ``fetched`` needs; certainty.safetensors comes along where there is one."""
ALONG = (CERTAINTY, "metrics.json", "plan.json", "history.csv")


def push(run: str | Path, repo: str, *, private: bool = False, quiet: bool = False) -> str:
    """Upload a run's model to the Hugging Face hub; the repository is made where there is none. Returns its address.

    Args:
        repo: "name" or "owner/name". private: whether a new repository is one.

    Raises:
        RunError: no model there, or the hub cannot be reached or refuses. OptionError: no name of a repository.
    """
    from huggingface_hub import HfApi

    folder = Path(run)
    described = read_description(folder)
    repo = repo.removeprefix(PREFIX)
    _check_name(repo)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    with Voice(quiet) as voice, tempfile.TemporaryDirectory() as scratch:
        _fill(Path(scratch), folder, described, repo)
        voice.say(f"Uploading {folder} to {repo} …")
        try:
            made = api.create_repo(repo, private=private or None, exist_ok=True)
            api.upload_folder(
                repo_id=made.repo_id, folder_path=scratch, commit_message=f"A headstart model: {folder.resolve().name}"
            )
        except transport_errors() as error:
            raise _refused(repo, error) from None
    return f"{api.endpoint}/{made.repo_id}"


def _fill(target: Path, run: Path, described: dict[str, Any], repo: str) -> None:
    """What is uploaded, in a folder of its own."""
    described = published(described)
    write_json(target / "model.json", described)
    shutil.copyfile(run / "model.safetensors", target / "model.safetensors")
    for name in ALONG:
        if (run / name).exists():
            shutil.copyfile(run / name, target / name)
    metrics, plan = (json.loads((run / name).read_text(encoding="utf-8")) for name in ("metrics.json", "plan.json"))
    write_text(target / "README.md", model_card(f"{PREFIX}{repo}", described, metrics, plan))


def fetched(place: str | Path) -> Path:
    """A run folder as it is, or the folder that ``hf:REPO`` or ``hf:REPO@REVISION`` was downloaded to.

    Raises:
        RunError: the repository cannot be had, or holds no model of headstart's.
    """
    text = Path(place).as_posix() if isinstance(place, Path) else place
    if not text.startswith(PREFIX):
        return Path(place)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo, _, revision = text.removeprefix(PREFIX).partition("@")
    _check_name(repo)
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        files = [Path(hf_hub_download(repo, name, revision=revision or None, endpoint=endpoint)) for name in MODEL]
        with suppress(EntryNotFoundError, LocalEntryNotFoundError):  # models of older headstarts have none
            hf_hub_download(repo, CERTAINTY, revision=revision or None, endpoint=endpoint)
    except LocalEntryNotFoundError as error:  # no network, and not fetched before
        raise _refused(repo, error) from None
    except EntryNotFoundError:
        raise RunError(f"{text} holds no model of headstart's (no {' or no '.join(MODEL)}).") from None
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
        return RunError(
            f"The hub does not let you use {repo} ({status}).", "Log in with: hf auth login (or set HF_TOKEN)."
        )
    if status == 404:
        return RunError(f"There is no {repo} on the hub, or it is private.", "Log in with: hf auth login")
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return RunError(f"The hub could not be reached for {repo}: {reason}", "Try again; HF_ENDPOINT names another hub.")
