"""A value and its reason."""

from __future__ import annotations

from typing import Any, NamedTuple


class Choice(NamedTuple):
    """A value and why it is this one."""

    value: Any
    reason: str
