"""Names of places in a network: cuts and boundaries, as indices into the list of block names.

A *block* is the smallest unit that the network can be split at (``layer2.1``); a *stage* is all blocks under one name
(``layer2``). An option that names a place takes both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from headstart.errors import OptionError, did_you_mean

# Names that hold a whole network: their members are the stages ("blocks.3", "stages.1", "layers.0").
_CONTAINERS = frozenset({"blocks", "stages", "layers", "features", "body", "levels", "network", "transformers"})


def stage_names(blocks: Sequence[str]) -> tuple[str, ...]:
    """The stages in order: ``("conv1", "bn1", "act1", "maxpool", "layer1", ...)`` or ``("conv_stem", "bn1", "blocks.0",
    ...)``.
    """
    return tuple(dict.fromkeys(stage_of(block) for block in blocks))


def stage_of(name: str) -> str:
    """The stage that a block, or a parameter in one, belongs to."""
    first, *rest = name.split(".")
    return ".".join([first, *rest[:1]]) if first in _CONTAINERS else first


MOST_JOINED = 8
"""Stages of a convolutional network; a transformer has more blocks, and neighbours among them say nearly the same."""


def joinable(blocks: Sequence[str]) -> tuple[str, ...]:
    """The stages whose outputs can be joined to the features: after the stem, those of several blocks, or in a
    container; what follows the last stage is not among them. Of many, the ends of the first three quarters.
    """
    named = [s for s in stage_names(blocks)[1:] if s not in blocks or s.split(".")[0] in _CONTAINERS]
    if len(named) <= MOST_JOINED:
        return tuple(named)
    return tuple(named[round(len(named) * quarter / 4) - 1] for quarter in (1, 2, 3))


def last_stage(blocks: Sequence[str], weighty: Sequence[str]) -> str:
    """The last stage proper: of those of several blocks, in a container, or in a numbered row (``level2``, ``level3``,
    ``level4``), that hold matrices or filters (as ``weighty`` does), else of any that hold some. A final norm or 1x1
    convolution is none where there are others. Empty where the network has no stages.
    """
    if len(blocks) < 2:
        return ""
    holding = [stage for stage in stage_names(blocks) if stage in weighty]
    rows = Counter(stage.rstrip("0123456789") for stage in holding)
    proper = [
        stage
        for stage in holding
        if stage not in blocks or stage.split(".")[0] in _CONTAINERS or rows[stage.rstrip("0123456789")] > 2
    ]
    return next(iter([*proper[-1:], *holding[-1:]]), "")


def place_names(blocks: Sequence[str]) -> tuple[str, ...]:
    """Each block and each prefix of it, in network order (``layer1``, ``layer1.0``, ``layer1.1``, ...)."""
    pieces = [block.split(".") for block in blocks]
    return tuple(dict.fromkeys(".".join(p[: i + 1]) for p in pieces for i in range(len(p))))


def blocks_under(name: str, blocks: Sequence[str]) -> list[int]:
    """The indices of a block, or of all blocks of a stage."""
    return [i for i, block in enumerate(blocks) if block == name or block.startswith(name + ".")]


def boundary_index(name: str, blocks: Sequence[str], network: str, inner: Sequence[str] = ()) -> int:
    """How many blocks are before the boundary: 0 for ``start``, all of them for ``end``, else the index of the first
    block under the name.

    Raises OptionError, with the network's stages (``inner``: those within its only block), for an unknown name.
    """
    ends = {"start": 0, "end": len(blocks)}
    if inner and name.strip() not in ends:
        hint = f"{did_you_mean(name, [*inner, *ends])} Stages of {network}: {', '.join(inner)}.".strip()
        raise OptionError(f"{network} has no stage {name!r} to be the boundary", hint)
    return ends[name.strip()] if name.strip() in ends else _find(name, blocks, network, "boundary", tuple(ends))[0]


def cut_index(name: str, blocks: Sequence[str], network: str) -> int:
    """How many blocks are kept up to and including the named place (at least 1).

    Raises OptionError, with the network's stages, for an unknown name.
    """
    return _find(name, blocks, network, "cut")[-1] + 1


def _find(name: str, blocks: Sequence[str], network: str, what: str, more: tuple[str, ...] = ()) -> list[int]:
    name = name.strip().strip(".").replace("[", ".").replace("]", "")  # layer2[2] is how Python writes layer2.2
    if found := blocks_under(name, blocks):
        return found
    if blocks[0] == "body":
        problem = f"{network} cannot be cut: its stages pass on more than one tensor, or run in another order"
        raise OptionError(problem, "Use it whole, without a cut.")
    stages = stage_names(blocks)
    inside = [block for block in blocks if block not in stages]
    example = f" (a block within one: {inside[-1]})" if inside else ""
    hint = f"{did_you_mean(name, [*place_names(blocks), *more])} Stages of {network}: {', '.join(stages)}{example}."
    raise OptionError(f"{network} has no stage or block {name!r} to be the {what}", hint.strip())
