"""Names of places in a network: cuts and boundaries.

A *block* is the smallest piece that the network can be divided at (``layer2.1``); a *stage* is a run of blocks under
one name (``layer2``). Both may be named wherever a place is asked for. Nothing here knows torch: a place is an index
into the list of block names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headstart.errors import OptionError, did_you_mean

START = "start"
END = "end"
# Names that hold a whole network and so say nothing as a stage: their members are the stages ("blocks.3", "stages.1",
# "layers.0").
_CONTAINERS = frozenset({"blocks", "stages", "layers", "features"})


def stage_names(blocks: Sequence[str]) -> tuple[str, ...]:
    """The stages in order: ``("conv1", "bn1", "act1", "maxpool", "layer1", ...)`` or ``("conv_stem", "bn1", "blocks.0",
    ...)``.
    """
    return tuple(dict.fromkeys(stage_of(block) for block in blocks))


def stage_of(name: str) -> str:
    """The stage that a block, or a parameter in one, belongs to."""
    first, *rest = name.split(".")
    return ".".join([first, *rest[:1]]) if first in _CONTAINERS else first


def place_names(blocks: Sequence[str]) -> tuple[str, ...]:
    """Everything that may be named: each block and each prefix of it, in network order (``layer1``, ``layer1.0``,
    ``layer1.1``, ...).
    """
    return tuple(dict.fromkeys(prefix for block in blocks for prefix in _prefixes(block)))


def _prefixes(block: str) -> Iterable[str]:
    pieces = block.split(".")
    return (".".join(pieces[: i + 1]) for i in range(len(pieces)))


def boundary_index(name: str, blocks: Sequence[str], network: str) -> int:
    """How many blocks lie before the boundary: 0 for ``start``, all of them for ``end``, else the position of the first
    block under the name.

    Raises OptionError, naming the network's stages, for a name it does not have.
    """
    name = _tidy(name)
    if name == START:
        return 0
    if name == END:
        return len(blocks)
    return _covered(name, blocks, network, "boundary")[0]


def cut_index(name: str, blocks: Sequence[str], network: str) -> int:
    """How many blocks stay when everything up to and including the named place is kept (at least 1).

    Raises OptionError, naming the network's stages, for a name it does not have.
    """
    return _covered(_tidy(name), blocks, network, "cut")[-1] + 1


def _tidy(name: str) -> str:
    return name.strip().strip(".").replace("[", ".").replace("]", "")  # layer2[2] is how Python writes layer2.2


def _covered(name: str, blocks: Sequence[str], network: str, what: str) -> list[int]:
    found = [i for i, block in enumerate(blocks) if block == name or block.startswith(name + ".")]
    if not found:
        raise _no_such_place(name, blocks, network, what)
    return found


def _no_such_place(name: str, blocks: Sequence[str], network: str, what: str) -> OptionError:
    if len(blocks) < 2:
        hint = f"headstart knows no stages inside {network}: use it whole (boundary 'start' or 'end', no cut)."
        return OptionError(f"{network} cannot be parted at {name!r}", hint)
    words = [did_you_mean(name, [*place_names(blocks), *((START, END) if what == "boundary" else ())])]
    words.append(f"Stages of {network}: {', '.join(stage_names(blocks))}{_example(blocks)}.")
    return OptionError(f"{network} has no stage or block {name!r} to be the {what}", " ".join(filter(None, words)))


def _example(blocks: Sequence[str]) -> str:
    """How a block inside a stage is written, where there is one."""
    stages = stage_names(blocks)
    inside = [block for block in blocks if block not in stages]
    return f" (a block within one: {inside[-1]})" if inside else ""
