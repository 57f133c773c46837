"""A matplotlib ``Figure`` drawn in ``COLOURS`` as an ``<svg>`` coloured by CSS: placeholder colours that no plot would
use are replaced by CSS variables, so that the page's light and dark schemes apply. Text stays text (it can be searched
and read aloud) in the page's own font.
"""

from __future__ import annotations

import re
import warnings
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from headstart.core.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SERIES = 8
"""How many arms have a colour of their own; the next one starts over."""
_VARIABLES = ("ink", "muted", "line", "paper", "accent", "bad", *(f"series-{n}" for n in range(1, SERIES + 1)))
COLOURS = {name: f"#0{index:x}0{index:x}fe" for index, name in enumerate(_VARIABLES)}
"""CSS variable (without its dashes) → the colour to draw with."""
# matplotlib before 3.11 writes "font: 9px 'DejaVu Sans', ...", later ones "font-size: 9px; font-family: ...".
_FONT = re.compile(r"font: (?:(?P<weight>bold|[1-9]00) )?(?P<size>[\d.]+)px [^;\"]+")
_FAMILY = re.compile(r"font-family: [^;\"]+; ?")
_DROP = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL)
_IDS = re.compile(r'(?P<before> id="|url\(#|xlink:href="#)')


def series_colour(index: int) -> str:
    """The placeholder colour of the arm at ``index``."""
    return COLOURS[f"series-{index % SERIES + 1}"]


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as one ``<svg>`` element without a fixed size. ``name``: unique on the page, prefixes its ids;
    ``description``: what a screen reader says.
    """
    import matplotlib
    from matplotlib.text import Text

    buffer = StringIO()
    for words in figure.findobj(Text):
        if isinstance(words, Text):
            words.set_parse_math(False)  # a dollar sign in a name begins no formula
            words.set_text(printable(words.get_text(), keep="\n"))
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}),
    ):
        warnings.filterwarnings("ignore", "Glyph")  # its font measures the text only: a browser has others
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    body = _DROP.sub("", drawn[drawn.index("<svg") :])
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', opening)
    if box is None:
        raise ValueError("matplotlib wrote an svg without a viewBox")
    head = f'<svg class="plot" xmlns:xlink="http://www.w3.org/1999/xlink" {box.group()} role="img"'
    text = _IDS.sub(lambda match: f"{match['before']}{name}-", rest)
    text = _FONT.sub(lambda match: f"font-size: {match['size']}px; font-weight: {match['weight'] or 'inherit'}", text)
    text = _FAMILY.sub("", text)
    for variable, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    return f'{head} aria-label="{escape(printable(description))}">{text.strip()}'
