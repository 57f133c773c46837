"""Text of a recipe → plain values: mappings with text as keys, lists, texts, numbers, true, false and null.

YAML that would surprise is read as it is written (``no`` and ``2024-01-01`` are texts, as in YAML 1.2), and YAML that
would grow is bounded: a few lines of aliases can stand for more values than memory holds.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from headstart.errors import OptionError

MAX_BYTES = 100_000
"""Of a recipe's file: the longest that ships has 4,000."""
MAX_VALUES = 10_000  # with those that aliases stand for
MAX_DEPTH = 20
_DIGITS = "[-+]?(?:0|[1-9][0-9]{0,17})"  # as many as a machine's integer has; more, or octal, stay text
_FRACTION = r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]{1,4})?|[0-9]+[eE][-+]?[0-9]{1,4})"


def read(text: str, where: str) -> Any:
    """The value that ``text`` describes; ``where`` names it in messages. Raises OptionError."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _Reading().value(node, 1)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise OptionError(f"{where}{line} is not YAML: {problem.splitlines()[0][:200]}.") from None
    except RecursionError:
        raise OptionError(f"{where} is not YAML: brackets within brackets without an end.") from None


class _Loader(yaml.SafeLoader):
    """YAML → nodes; it knows fewer kinds of values than YAML 1.1."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - by the first character; as PyYAML declares it

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in (None, "!"):
            raise _wrong(f"a recipe takes no tags, such as {event.tag}", event)
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _DIGITS, list("-+0123456789")),
    ("float", _FRACTION, list("-+.0123456789")),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


class _Reading:
    """Nodes → values, not more than ``MAX_VALUES``. PyYAML's own step does not bound them, takes the last of two values
    with one key, and merges mappings that have merged others wrongly (6.0.4).
    """

    def __init__(self) -> None:
        self.values = 0

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            raise _wrong(f"more than {MAX_VALUES:,} values, with those that aliases stand for", node)
        if depth > MAX_DEPTH:
            raise _wrong(f"more than {MAX_DEPTH} levels, or an alias of what it is in", node)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        if node.tag in ("int", "float"):
            return int(node.value) if node.tag == "int" else float(node.value)
        return {"null": None, "bool": node.value[:1] in "tT"}.get(node.tag, node.value)

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong("a key must be a name", key)
            value = self.value(item, depth + 1)
            if key.tag == "merge":
                for each in reversed(value if isinstance(value, list) else [value]):
                    if not isinstance(each, dict):
                        raise _wrong("<< takes a mapping, or a list of mappings", key)
                    merged |= each
            elif key.value in own:  # of two arms with one name the first would be lost
                raise _wrong(f"{key.value[:60]} is given twice", key)
            else:
                own[key.value] = value
        return merged | own


def _wrong(problem: str, at: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=at.start_mark)
