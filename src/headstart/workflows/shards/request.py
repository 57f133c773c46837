"""What decides the content of the files of many photos. In: a worker and its photos. Out: a request as JSON; a folder
of another one holds other work.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from headstart.core.text import json_text
from headstart.data.pictures import Encoded, Picture
from headstart.data.schema import ImageRef
from headstart.data.sources.addresses import address_of
from headstart.inference.classifier import Classifier, name_of, path_of
from headstart.workflows.embed.files import texts
from headstart.workflows.shards.parts import Kind, PartWorker
from headstart.workflows.shards.result import FORMAT


def request_of(worker: PartWorker, photos: Sequence[ImageRef], size: int) -> dict[str, Any]:
    """The request of parts of ``size`` photos; files are told by their names and paths, pictures by their content."""
    return {
        "format": FORMAT, "kind": worker.kind, "model": _model(worker.classifier, worker.kind),
        "coverage": worker.coverage, "photos": _photos(photos), "part": size,
    }  # fmt: skip


def _photos(photos: Sequence[ImageRef]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for one, name in zip(photos, texts([name_of(photo) for photo in photos]), strict=True):
        path = path_of(one)
        where = os.fsencode(address_of(path) or os.path.abspath(path))
        if isinstance(one, Picture | Encoded):
            where = b""
            with suppress(OSError):  # it cannot be read, as its row says
                where = hashlib.blake2b(one.encoded(0)).digest()
        found.update(f"{len(name)} {name} {len(where)} ".encode() + where)
    return found.hexdigest()


def _model(classifier: Classifier, kind: Kind) -> str:
    """A digest of all that a prediction depends on, or a feature, which does not depend on the head."""
    described, features = classifier.description(), kind == "features"
    kept = ("preprocessing", "precision") if features else tuple(described.keys() - {"provenance"})
    found = hashlib.blake2b(json_text([(name, described[name]) for name in sorted(kept)]).encode(), digest_size=16)
    network = classifier.network.backbone if features else classifier.network
    found.update(repr(classifier.network.backbone.joined).encode())  # no tensor tells it
    for name, tensor in network.state_dict().items():
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    if classifier.certainty is not None and not features:
        for values in (classifier.certainty.own, classifier.certainty.far, classifier.certainty.means):
            found.update(values.tobytes())
    return found.hexdigest()
