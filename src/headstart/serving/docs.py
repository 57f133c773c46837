"""The page of the API's documentation, from the app's OpenAPI description; it loads nothing from elsewhere."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment


def docs_page(api: dict[str, Any]) -> str:
    """HTML of every call: method, path, what goes in, what comes out."""
    source = (files("headstart.serving") / "page" / "docs.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return template.render(api=api, calls=list(_calls(api)))


def _calls(api: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for path, methods in api["paths"].items():
        for method, call in methods.items():
            answers = [(status, _answer(api, told)) for status, told in sorted(call["responses"].items())]
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": call.get("summary", ""),
                    "upload": "requestBody" in call,
                    "parameters": call.get("parameters", []),
                    "answers": answers,
                }
            )
    return found


def _answer(api: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, dict[str, Any]] = told.get("content", {})
    kind, form = next(iter(content.items()), ("", {}))
    return {"description": told.get("description", ""), "kind": kind, "example": _example(api, form.get("schema", {}))}


def _example(api: dict[str, Any], schema: dict[str, Any]) -> str:
    """The shape of an answer as JSON with types for values; empty where the schema says nothing."""
    return json.dumps(_shape(api, schema), indent=1) if schema.get("$ref") else ""


def _shape(api: dict[str, Any], schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        return {name: _shape(api, inner) for name, inner in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_shape(api, schema["items"])]
    if isinstance(schema.get("additionalProperties"), dict):
        return {"…": _shape(api, schema["additionalProperties"])}
    if "anyOf" in schema:
        return " or ".join(str(_shape(api, inner)) for inner in schema["anyOf"])
    return schema.get("type", "any")
