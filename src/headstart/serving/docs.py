"""The page of the API's documentation, from the app's OpenAPI description; it loads nothing from elsewhere."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment


def docs_page(api: dict[str, Any]) -> str:
    """HTML of every call: method, path, parameters, responses."""
    source = (files("headstart.serving") / "page" / "docs.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    calls = [
        {
            "method": method.upper(), "path": path, "summary": call.get("summary", ""),
            "upload": "requestBody" in call, "parameters": call.get("parameters", []),
            "responses": [(status, _response(api, about)) for status, about in sorted(call["responses"].items())],
        }
        for path, methods in api["paths"].items()
        for method, call in methods.items()
    ]  # fmt: skip
    return template.render(api=api, calls=calls)


def _response(api: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """Description, media type and, where the schema has a name, the shape as JSON with types for values."""
    content: dict[str, dict[str, Any]] = about.get("content", {})
    kind, form = next(iter(content.items()), ("", {}))
    schema = form.get("schema", {})
    example = json.dumps(_shape(api, schema), indent=1) if "$ref" in schema else ""
    return {"description": about.get("description", ""), "kind": kind, "example": example}


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
