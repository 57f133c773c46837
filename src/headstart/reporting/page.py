"""HTML pages from templates; all text is escaped, and a page loads and runs nothing."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from headstart._version import __version__
from headstart.core.text import count, plural, printable
from headstart.reporting.images import thumbnail

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


PREDICT = "reporting/templates/predict.html.j2"
"""The page that predicts photos: of a server, or (``local``) in the browser alone. Its script is page.js."""


@dataclass(frozen=True)
class Fact:
    """A tile at the top of the page: "training", "38 s", "2 CPU cores, bf16"."""

    label: str
    value: str
    note: str = ""


def render_page(template: str, **shown: Any) -> str:
    """The page of a template, named from the package's root (``workflows/train/run.html.j2``). A name that the template
    uses and that is not in ``shown`` is an error.
    """
    return _environment().get_template(template).render(version=__version__, **shown)


def photo(pixels: Any, side: int = 128) -> dict[str, Any]:
    """For the ``picture`` macro: the image as a data URL, and whether it is shown with hard pixels. Blurred, a photo of
    32 px is a smear.
    """
    return {"src": thumbnail(pixels, side), "tiny": max(pixels.shape[:2]) < 64}


def percent(share: float | None, digits: int = 1) -> str:
    """0.9781 → "97.8 %" (with a narrow space that does not break), None → "–"."""
    return "–" if share is None else f"{100 * share:.{digits}f}\u202f%"


def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """ "95.9–98.8 %", or "one run" where there is no interval."""
    if low is None or high is None:
        return "one run"
    return f"{100 * low:.{digits}f}–{percent(high, digits)}"


def points(difference: float, digits: int = 1) -> str:
    """A difference of shares in percentage points, signed: 0.031 → "+3.1", with a true minus sign."""
    text = f"{100 * difference:.{digits}f}"
    if not float(text):
        return text.lstrip("-")
    return f"−{text[1:]}" if text.startswith("-") else f"+{text}"


def p_value(p: float | None) -> str:
    """ "p = 0.012", "p < 0.001", or nothing where there is none."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def prose(text: str) -> Markup:
    """Text with its `backticked` words as code; everything else is escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(printable(text, keep="\n")))))


def headline(text: str) -> Markup:
    """Text whose percentages and ranges are not broken."""
    from markupsafe import Markup, escape

    return Markup(str(escape(printable(text))).replace(" %", "\u00a0%").replace("–", "–\u2060"))


def several_lines(text: str) -> Markup:
    """Text in which line breaks stay, for ``<pre>``."""
    from markupsafe import escape

    return escape(printable(text, keep="\n"))


def _one_line(value: Any) -> Any:
    """What an expression of a template puts on the page: of text, control characters and line breaks are escaped."""
    if isinstance(value, PurePath) or (isinstance(value, str) and not hasattr(value, "__html__")):
        return printable(value)
    return value


def shorten(items: Sequence[Any], most: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """(the first ``most``, the rest): what is shown at once, and what a click opens."""
    return items[:most], items[most:]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent / "templates", Path(__file__).parents[1]]),
        autoescape=True, undefined=StrictUndefined, finalize=_one_line, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    filters = (percent, points, p_value, count, plural, prose, headline, several_lines, shorten)
    environment.filters.update({function.__name__: function for function in filters})
    environment.globals["interval"] = interval
    return environment


def environment(machine: str) -> dict[str, str]:
    """Versions and machine, for the foot of a page."""
    import torch

    return {
        "headstart": __version__, "torch": torch.__version__, "timm": version("timm"),
        "python": platform.python_version(), "machine": machine, "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip
