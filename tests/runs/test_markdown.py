"""Markdown: text from outside stays text, wherever it stands."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from headstart.core.text import printable
from headstart.runs.markdown import code, render_markdown

TEMPLATE = """# {{ name }}

A {{ name }}, {{ name | code }} and {{ number }}.

| a | b |
|---|---|
| {{ name }} | {{ name | code }} |

- {{ name | code }}: {{ name }}

```bash
predict {{ name | shell }} photo.jpg
```

```python
predict({{ name | python }})
```
"""
NASTY = (
    "`", "``a`", "a|b", "<script>alert(1)</script>", "![x](http://x/pixel.png)", "[x](javascript:1)", "---", "```",
    "x\n---\ny: 1", "{{ 7*7 }}", "{% raw %}", "&lt;", "# a", "https://evil.example", "www.evil.example", "<b", "*a*",
    "\\", "$x$", " x ", "~~a~~", "<!--", "a\u2028b", "\x1b[31m", "caf\udce9", "key: [", "''", "- x", "!!python/object",
)  # fmt: skip
ANY = st.text(st.characters(exclude_categories=()), min_size=1)


def body(name: str) -> str:
    return render_markdown(TEMPLATE, {"name": name}, name=name, number=7).split("---\n", 2)[2]


def shape(text: str) -> list[str]:
    """The kinds of all parts of a document, in order; within a line, code and text count as one."""
    parser = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"])
    found: list[str] = []
    for token in parser.parse(text):
        inside = (part.type for part in token.children or [])
        found += [token.type, *(kind for kind in inside if kind not in ("text", "code_inline", "text_special"))]
    return found


@given(ANY)
def test_no_name_changes_the_document_around_it(name: str) -> None:
    assert shape(body(name)) == shape(body("cat"))


@pytest.mark.parametrize("name", NASTY)
def test_names_that_markdown_would_read_are_text(name: str) -> None:
    made = body(name)
    assert shape(made) == shape(body("cat"))
    above = re.sub(r"`[^`\n]*`", "", made.partition("```bash")[0])  # without what is code
    assert not re.search(r"<|https?://|www\.e", above)


@given(ANY)
@example("---\nx: 1")
def test_the_front_matter_is_what_it_was_made_of(name: str) -> None:
    made = render_markdown("body\n", {"tags": [name], "of": {"name": name}})
    assert printable(made, keep="\n") == made
    _, front, rest = re.split(r"^---$", made, flags=re.MULTILINE)
    assert yaml.safe_load(front) == {"tags": [printable(name)], "of": {"name": printable(name)}}
    assert rest == "\n\nbody\n"


def test_plain_names_stay_code() -> None:
    assert code("n02085936") == "`n02085936`"
    assert code("a`b") == "a\\`b"
