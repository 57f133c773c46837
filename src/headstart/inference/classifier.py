"""The trained classifier: a folder (``model.safetensors``, ``model.json``), and predictions from it.

Loading reads tensors and JSON only, and executes no code from the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from headstart.core.arguments import Device, Module, typed
from headstart.core.files import write_json
from headstart.core.formats import DAMAGED
from headstart.core.paths import Place
from headstart.data.images import PhotoRead, centre, stream_photos
from headstart.data.label_sets import joined_labels
from headstart.data.schema import ImageRef
from headstart.data.sources.addresses import address_of
from headstart.errors import OptionError, RunError, WeightsError, option
from headstart.evaluation.conformal import label_set, least_probability
from headstart.evaluation.multilabel import MultiLabel
from headstart.evaluation.objective import MULTICLASS, Objective
from headstart.evaluation.uncertainty import Uncertainty, is_unknown
from headstart.inference.answers import Answer, Decided
from headstart.inference.backends import choose_engine
from headstart.inference.device import Machine, find_machine, ready_after_fork
from headstart.inference.hub import PREFIX, fetched
from headstart.inference.model_files import FORMAT, published, read_description
from headstart.inference.network_files import load_network, outputs_for_one, size_problem
from headstart.inference.openvino import has_openvino
from headstart.inference.runner import FrozenNetwork
from headstart.inference.uses import Uses
from headstart.models.network import Network, head_logits
from headstart.models.preprocessing import Preprocessing
from headstart.models.serialization import save_state

Ref = TypeVar("Ref", bound=ImageRef)
AHEAD = 256
"""Photos of an iterator that are taken at a time."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one photo; ``problem`` says why there is none.

    ``path``: of its file; ``image 3`` for the third picture in memory. ``photo``: what was read.

    ``probabilities``: one per class, in class order. ``distance`` to the training photos, 1 being as far as validation
    photos usually are; None if the run does not know it. ``labels``: the set of labels for the requested coverage, the
    most probable first. Of a model for any number of labels: those that it predicts, in class order; ``label`` is then
    all of them joined by ``|``, "" for none, and ``confidence`` as of ``Decided``.
    """

    path: Path
    label: str | None
    confidence: float | None
    probabilities: tuple[float, ...] = ()
    problem: str | None = None
    distance: float | None = None
    labels: tuple[str, ...] | None = None
    photo: ImageRef | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What the photo is called: as a table or standard input names it, ``photos.zip/1.jpg`` in an archive; else its
        path.
        """
        return str(self.path) if self.photo is None else name_of(self.photo)

    @property
    def unknown(self) -> bool | None:
        """Whether the photo is out of distribution; None if that is not known."""
        return is_unknown(self.distance)


@dataclass
class Classifier(Uses):
    """Backbone, head, preprocessing, class list and provenance: everything that turns a photo into a label. The
    ``objective`` says whether it is one class, or any number of labels, and their thresholds.

    ``home``: the folder that it was read from or first saved to, or its name on the hub; None while it is in memory
    alone.
    """

    network: Network
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    head: str
    dropout: tuple[float, ...] = ()
    precision: str = "float32"
    provenance: dict[str, Any] = field(default_factory=dict)
    certainty: Uncertainty | None = None
    objective: Objective = MULTICLASS
    home: str | None = field(default=None, repr=False, compare=False)
    _machine: Machine | None = field(default=None, repr=False)
    _forward: FrozenNetwork | None = field(default=None, repr=False)

    def save(self, folder: Path) -> None:
        """Write the model's files (see ``load``), each atomically. Raises RunError."""
        save_state(folder / "model.safetensors", self.network.state_dict(), {"format": 1})
        if self.certainty is not None:
            self.certainty.save(folder)
        described = self.description()
        if self.network.backbone.facts.module:
            described["architecture"]["outputs"] = outputs_for_one(self.network, self.preprocessing.image_size)
        write_json(folder / "model.json", described)
        self.home = self.home or os.path.abspath(folder)

    def __fspath__(self) -> str:
        """A classifier stands for its folder wherever a run is asked for. Raises RunError where it has none."""
        if self.home is None:
            raise RunError("This classifier is in memory alone.", "Save it first: `classifier.save(Path('pets'))`.")
        return self.home

    def __getstate__(self) -> dict[str, Any]:
        """Without the prepared network, which no other process could use; it is prepared again when needed."""
        return {**self.__dict__, "_forward": None}

    def description(self) -> dict[str, Any]:
        """The content of model.json."""
        backbone, labels = self.network.backbone, self.objective.to_json()
        return {
            "format": FORMAT if labels else 1,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.to_json(),
            "architecture": {
                "backbone": backbone.name,
                "cut": backbone.cut,
                **({"joined": list(backbone.joined)} if backbone.joined else {}),
                **({"module": backbone.facts.module} if backbone.facts.module else {}),
                "dim": backbone.dim,
                "head": self.head,
                "dropout": list(self.dropout),
            },
            "precision": self.precision,
            "provenance": self.provenance,
            **({"labels": labels} if labels else {}),
        }

    def public_description(self) -> dict[str, Any]:
        """The description for those who receive the model or ask a server: see ``published``."""
        return published(self.description())

    @classmethod
    def of(cls, run: Model, device: Device = "auto") -> Classifier:
        """The classifier of a run, a model folder or ``hf:REPO``, or one that is in memory: it stays on its device
        unless another is named. Raises RunError, OptionError.
        """
        if isinstance(run, Trained):
            run = run.classifier
        if isinstance(run, Classifier):
            return run if device == "auto" else run.to(find_machine(device))
        return cls.load(run, device)

    @classmethod
    def apart(cls, run: Model) -> Classifier:
        """As ``of``, but on the CPU, and of one in memory a copy: what is done to it changes no other."""
        if isinstance(run, Trained):
            run = run.classifier
        if isinstance(run, Classifier):
            return replace(run, network=deepcopy(run.network).cpu(), _forward=None).to(find_machine("cpu"))
        return cls.load(run, "cpu")

    @classmethod
    @typed
    def load(cls, folder: Place, device: Device = "auto", network: Module | None = None) -> Classifier:
        """Read a run or model folder, or ``hf:REPO`` (see ``headstart.inference.hub.fetched``). ``network``: of a model
        whose backbone was a module of the caller's, such a module, whatever its weights: no code is taken from a file.

        Raises:
            RunError: the folder is no model, or is damaged; ``network`` is missing, or another.
        """
        ready_after_fork()
        asked, folder = os.fspath(folder), fetched(folder)
        described = read_description(folder)
        shape, classes = described["architecture"], tuple(described["classes"])
        how = described["preprocessing"]
        whole = load_network(folder, shape, len(classes), network, how["image_size"])
        preprocessing = Preprocessing.from_json(how)
        if problem := size_problem(whole.backbone, preprocessing.image_size):
            raise RunError(f"{folder / 'model.json'}: preprocessing.image_size: {problem}.", DAMAGED)
        loaded = cls(
            whole,
            preprocessing,
            classes,
            shape["head"],
            tuple(shape["dropout"]),
            described["precision"],
            described["provenance"],
            Uncertainty.load(folder, whole.backbone.facts.dim),
            MultiLabel(tuple(kind["thresholds"])) if (kind := described.get("labels")) else MULTICLASS,
            asked if asked.startswith(PREFIX) else os.path.abspath(folder),
        )
        return loaded.to(find_machine(device))

    def to(self, machine: Machine) -> Classifier:
        """Predict on this machine from now on, in bf16 only if it was trained so and the machine multiplies it."""
        self._machine, self._forward = machine, None
        self.network.head.to(machine.device).eval()
        return self

    def prepare_for(self, photos: int) -> FrozenNetwork:
        """The backbone with all stages joined, ready to read a number of photos; once prepared for many, it also reads
        few.
        """
        machine = self._machine or find_machine()
        if self._machine is None:
            self.to(machine)
        if self._forward is not None and not self._forward.is_of_this_process:
            self._after_fork(machine)
        weights = sum(p.numel() for p in self.network.backbone.parameters())
        size = self.preprocessing.image_size
        # A network of the caller's is computed as it was written.
        openvino = has_openvino() and not self.network.backbone.facts.module
        engine = str(choose_engine(machine.device.type, openvino, photos, weights, size).value)
        if self._forward is None or (engine, self._forward.asked) == ("openvino", "torch"):
            precision = self.precision if machine.fast_bf16 else "float32"
            every = self.network.backbone.joining_all()  # as training computes features, so that no bit differs
            self._forward = FrozenNetwork(every, self.preprocessing, machine, precision, engine)
        return self._forward

    def _after_fork(self, machine: Machine) -> None:
        """Make ready for a process that was forked from the one that prepared the network. Raises RunError."""
        if machine.device.type != "cpu":
            problem = f"This process was forked from one that computes on {machine.device.type.upper()}, and cannot."
            raise RunError(problem, "Start it by spawn, or load the model after the fork.")
        ready_after_fork()
        self._forward = None

    def features(self, photos: np.ndarray) -> np.ndarray:
        """Features float32 [N, D] of photos that are cropped to size already: uint8 [N, S, S, 3]."""
        forward = self._forward
        if forward is None or not forward.is_of_this_process:
            forward = self.prepare_for(len(photos))
        return self.network.backbone.own_columns(forward(torch.from_numpy(photos)).float().numpy())

    def logits(self, photos: np.ndarray) -> np.ndarray:
        """Logits [N, C] of photos that are cropped to size already: uint8 [N, S, S, 3]."""
        return head_logits(self.network.head, self.features(photos))

    def answers(self, features: np.ndarray) -> list[Answer]:
        """Probabilities and distances of photos with these features [N, D]."""
        rows = self.objective.probabilities(head_logits(self.network.head, features))
        last = self.network.backbone.last(features)
        far = self.certainty.distances(last) if self.certainty else [None] * len(rows)
        return [Answer(row, distance) for row, distance in zip(rows, far, strict=True)]

    def stream(self, photos: Sequence[Ref] | Iterator[Ref]) -> Iterator[tuple[Ref, PhotoRead, Answer | None]]:
        """(photo, what was read, its probabilities and distance, or None for a bad one), in order, in constant
        memory; of an iterator, which need not end, a bounded number ahead.
        """
        if isinstance(photos, Iterator):
            while part := list(islice(photos, AHEAD)):
                yield from self.stream(part)
            return
        for read, features in self.batches(photos):
            # All rows of the batch, also those of no photo: a prediction does not depend on the others beside it.
            answers = iter(self.answers(features) if len(features) else ())
            for photo, was in read:
                yield photo, was, next(answers) if was.pixels is not None else None

    def batches(self, photos: Sequence[Ref]) -> Iterator[tuple[list[tuple[Ref, PhotoRead]], np.ndarray]]:
        """(photos with what was read of each, features of those that could be), in order, in constant memory. The
        features fill a whole batch, [B, D], whose last rows are of no photo; [0, D] where no photo could be read.
        """
        machine = self.prepare_for(len(photos)).machine
        size, how = self.preprocessing.image_size, self.preprocessing
        waiting: list[tuple[Ref, PhotoRead]] = []
        good: list[np.ndarray] = []
        reads = stream_photos(photos, how.resize, how.interpolation, ranges=how.ranges)
        for done, (photo, read) in enumerate(zip(photos, reads, strict=True), 1):
            waiting.append((photo, read))
            if read.pixels is not None:
                good.append(centre(read.pixels, size))
            if len(good) < machine.batch and done < len(photos):
                continue
            batch = np.zeros((machine.batch if good else 0, size, size, 3), np.uint8)
            batch[: len(good)] = good or batch
            yield waiting, self.features(batch) if good else np.zeros((0, self.network.backbone.dim), np.float32)
            waiting, good = [], []

    def predictions(
        self, photos: Sequence[ImageRef] | Iterator[ImageRef], coverage: float | None = None
    ) -> Iterator[Prediction]:
        """One ``Prediction`` per photo, in order; with ``coverage``, each with a set of labels (see ``Uncertainty``).

        Raises:
            OptionError: a coverage outside (0, 1). RunError: the run kept nothing to make sets from.
        """
        self.refuse_several(coverage=coverage)
        least = None if coverage is None else least_probability(self.known_uncertainty.own, coverage)
        return (
            Prediction(path_of(photo), None, None, problem=read.problem, photo=photo)
            if answer is None
            else self.prediction(photo, answer, least)
            for photo, read, answer in self.stream(photos)
        )

    def prediction(self, photo: ImageRef, answer: Answer, least: float | None = None) -> Prediction:
        """A prediction with names; ``least``: the probability that a label needs to be in the set, if one is wanted."""
        p = answer.probabilities
        decided = self.decided(p)
        labels = None if least is None else tuple(self.classes[c] for c in label_set(p, least))
        if self.objective.several:
            labels = decided.labels
        values = tuple(float(v) for v in p)
        label, confidence = joined_labels(decided.labels), decided.confidence
        return Prediction(path_of(photo), label, confidence, values, None, answer.distance, labels, photo)

    def decided(self, probabilities: np.ndarray) -> Decided:
        """The labels that a photo with these probabilities [C] is given."""
        found = self.objective.decide(probabilities[None])[0]
        if not self.objective.several:
            return Decided((self.classes[found],), int(found), float(probabilities[found]))
        chosen = np.flatnonzero(found)
        first = int(chosen[probabilities[chosen].argmax()] if len(chosen) else probabilities.argmax())
        sure = probabilities[chosen].min() if len(chosen) else 1 - probabilities[first]
        return Decided(tuple(self.classes[c] for c in chosen), first, float(sure))

    def refuse_several(self, **asked: Any) -> None:
        """Raise OptionError for an option, of those that are not None, that presumes one class per photo."""
        for name, value in asked.items():
            if value is not None and self.objective.several:
                problem = (
                    f"{option(name)} is for models of one class per photo; this one predicts any number of labels."
                )
                raise OptionError(problem, "Leave it out.", option=name)

    @property
    def known_uncertainty(self) -> Uncertainty:
        """What sets of labels are made from. Raises RunError if the run did not save it."""
        if self.certainty is None:
            raise RunError(
                "This model has no certainty.safetensors, which sets of labels are made from: it was trained with an"
                " older headstart.",
                "Train it again, or leave out `coverage`.",
            )
        return self.certainty


def path_of(photo: ImageRef) -> Path:
    """Where a photo is."""
    return photo if isinstance(photo, Path) else Path(getattr(photo, "path", photo.name))


def name_of(photo: ImageRef) -> str:
    """What a message calls a photo: see ``Prediction.name``."""
    written = getattr(photo, "written", None)
    return str(written if written is not None else address_of(path := path_of(photo)) or path)


def name_of_run(run: Model) -> str:
    """What a page and a message call a model: its folder's name, or its own on the hub."""
    try:
        folder = os.fspath(run)
    except RunError:
        return "a classifier in memory"
    return folder if folder.startswith(PREFIX) else os.path.basename(os.path.abspath(folder))


@runtime_checkable
class Trained(Protocol):
    """What ``train`` returns."""

    classifier: Classifier

    def __fspath__(self) -> str: ...


Model = Place | Trained | Classifier
"""A run folder, a model on the hub (``hf:owner/name``), what ``train`` returned, or its classifier."""


def load_backbone(folder: Path) -> Any:
    """The backbone of an earlier run, for ``from_run``. Raises RunError, WeightsError."""
    try:
        classifier = Classifier.load(folder, "cpu")
    except RunError as error:
        raise WeightsError(f"{option('from_run', repr(str(folder)))}: {error.problem}", error.hint) from None
    backbone, used = classifier.network.backbone.joining(()), classifier.preprocessing
    mean, std, interpolation = used.mean, used.std, used.interpolation
    backbone.preprocessing = replace(backbone.preprocessing, mean=mean, std=std, interpolation=interpolation)
    return backbone
