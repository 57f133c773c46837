"""``push``: upload a run's model to a hub (huggingface.co, or HF_ENDPOINT).

Uploaded are the model, the mean features per class by which it detects out-of-distribution photos, its card and its
metrics; not photos, tables and pages that show or name them, nor the command, which contains paths of this machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from headstart.core.arguments import typed
from headstart.core.events import Listener
from headstart.core.files import write_json, write_text
from headstart.core.text import printable
from headstart.errors import RunError
from headstart.evaluation.uncertainty import FILE as CERTAINTY
from headstart.inference.classifier import Classifier, Model
from headstart.inference.hub import PREFIX, _check_name, _refused
from headstart.inference.model_files import published, read_description
from headstart.models.pretrained import transport_errors
from headstart.reporting.console import console_events
from headstart.runs.figures import read_metrics, read_plan
from headstart.runs.model_card import model_card


@typed
def push(run: Model, repo: str, *, private: bool = False, quiet: bool = False, listener: Listener | None = None) -> str:
    """Upload a run's model to the Hugging Face hub; the repository is made where there is none.

    Args:
        run: a run folder, what ``train`` returned, or its classifier.
        repo: "name" or "owner/name".
        private: whether a new repository is private.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Returns:
        The repository's address.

    Raises:
        RunError: no model there, or the hub cannot be reached or refuses.
        OptionError: no name of a repository.
    """
    from huggingface_hub import HfApi

    folder = Path(run)
    described = read_description(folder)
    Classifier.apart(run)  # what cannot be loaded is not published
    metrics, plan = read_metrics(folder), read_plan(folder).to_json()
    repo = repo.removeprefix(PREFIX)
    _check_name(repo)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    with console_events(quiet, listener) as events, tempfile.TemporaryDirectory() as scratch:
        target, described = Path(scratch), published(described)
        write_json(target / "model.json", described)
        for name in ("model.safetensors", CERTAINTY, "metrics.json", "plan.json", "history.csv"):
            if (folder / name).exists():
                if not (folder / name).resolve().is_relative_to(folder.resolve()):
                    problem = f"{folder / name} is a link that leads out of the folder: it is not uploaded."
                    raise RunError(problem, "Replace it by the file itself, if it may be published.")
                shutil.copyfile(folder / name, target / name)
        write_text(target / "README.md", model_card(f"{PREFIX}{repo}", described, metrics, plan))
        events.message(f"Uploading {folder} to {repo} …")
        try:
            made = api.create_repo(repo, private=private or None, exist_ok=True)
            title = printable(f"A headstart model: {folder.resolve().name}")
            api.upload_folder(repo_id=made.repo_id, folder_path=scratch, commit_message=title)
        except transport_errors() as error:
            raise _refused(repo, error) from None
    return f"{api.endpoint}/{made.repo_id}"
