"""Recipes that are wrong in known ways, each with words of its refusal: for their tests, and as seeds of fuzzing."""

from __future__ import annotations

HEAD = "name: own\nimages: {p: {home: pets}}\n"


def laughs(kind: str) -> str:
    """Nine lines that stand for ten to the ninth values."""
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    for n in range(1, 9):
        inside = ", ".join([f"*a{n - 1}"] * 10)
        lines.append(f"a{n}: &a{n} [{inside}]" if kind == "lists" else f"a{n}: &a{n} {{<<: [{inside}], k{n}: 1}}")
    return HEAD + "\n".join(lines) + "\n"


WRONG: dict[str, tuple[str, str]] = {
    "laughs": (laughs("lists"), "more than 10,000 values, with those that aliases stand for"),
    "laughs by merging": (laughs("merges").replace("[ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]", "{ha: 1}"), "aliases"),
    "a list in itself": (f"{HEAD}arms: &a [*a]\n", "more than 20 levels, or an alias of what it is in"),
    "a mapping merged into itself": (f"{HEAD}arms: &a {{<<: *a}}\n", "more than 20 levels"),
    "deep": (f"{HEAD}about: " + "[" * 30 + "]" * 30, "more than 20 levels"),
    "very deep": (f"{HEAD}about: " + "[" * 40_000, "is not YAML: brackets within brackets"),
    "many values": (f"{HEAD}about: [" + "1," * 20_000 + "]", "more than 10,000 values"),
    "a key twice": (f"{HEAD}name: other\n", "line 3 is not YAML: name is given twice"),
    "a number twice": ("{1: a, '1': b}", "1 is given twice"),
    "a list as key": ("? [a]\n: b\n", "a key must be a name"),
    "Python": ("a: !!python/object/apply:os.system [ls]\n", "a recipe takes no tags"),
    "a timestamp": ("a: !!timestamp 2024-01-01\n", "a recipe takes no tags"),
    "binary": ("a: !!binary aGk=\n", "a recipe takes no tags"),
    "a bool that is none": ("a: !!bool maybe\n", "a recipe takes no tags"),
    "a null character": ("a: \0\n", "is not YAML"),
    "an alias of nothing": (f"a: *{'x' * 5000}\n", "found undefined alias"),
    "two documents": ("a: 1\n---\nb: 1\n", "is not YAML"),
}  # fmt: skip
"""Text that is refused when it is read."""
BIG: dict[str, tuple[str, str]] = {
    "seeds": ("seeds: 10000000\narms: {a: }\n", "seeds: 10000000 is not a whole number from 1 to 1,000"),
    "seeds of an arm": ("arms: {a: {seeds: 10000000}}\n", "arms.a: seeds: 10000000 is not"),
    "a sweep": (f"arms: {{a: {{shots: {list(range(1, 300))}}}}}\n", "a list has at most 100 values, not 299"),
    "arms": ("arms:\n" + "".join(f"  a{n}:\n" for n in range(3000)), "arms: 3,000 of them; a recipe has at most 100"),
    "trainings": (
        f"seeds: 1000\narms: {{a: {{shots: {list(range(1, 91))}}}}}\n", "90,000 trainings (arms x values x seeds)",
    ),
    "epochs": ("arms: {a: {epochs: 1e999}}\n", "epochs=inf: not a whole number"),
    "pixels": ("arms: {a: {image_size: 100000000}}\n", "image_size=100000000: must be at most 4,096"),
    "a rate": ("arms: {a: {lr: .nan}}\n", "lr='.nan': not a number"),
    "a fraction": ("arms: {a: {fraction: 1e999}}\n", "fraction: inf is not a number"),
    "an accuracy": ("arms: {a: {published: .nan}}\n", "published: '.nan' is not an accuracy"),
    "a name": (f"arms: {{? {'a' * 5000}: }}\n", "a name must be letters, digits and hyphens, at most 60"),
    "a value": (f"arms: {{a: {{shots: {'x' * 50_000}}}}}\n", "is not a whole number"),
    "unknown keys": ("arms: {a: {" + ", ".join(f"k{n}: 1" for n in range(4000)) + "}}\n", "4,000 problems"),
    "a title": ("title: {a: 1}\narms: {a: }\n", "title: {'a': 1} is not a text"),
    "a word for true": ("arms: {a: {allow_leakage: yes}}\n", "allow_leakage: 'yes' is neither true nor false"),
    "truth for a setting": ("arms: {a: {epochs: true}}\n", "epochs=True: not a whole number"),
}  # fmt: skip
"""Text after ``HEAD`` that is refused by the rules of recipes."""
