"""What the page asks, checked before it is used: JSON of the right shape, ids that a database can hold."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from headstart.serving.limits import Refused

LARGEST = 10 << 20
SETTINGS = {"auto": bool, "training": dict}
"""Settings of a project, and their types."""


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Its type is asked for, which a form of another site cannot send. Raises Refused."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refused(415, "Send JSON.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise Refused(413, "Too large.")
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()  # half a character can be written, and not kept
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "Not a JSON object.")
    return found


def photo_ids(asked: dict[str, Any]) -> list[int]:
    """The ids of photos, each once. Raises Refused."""
    ids = asked.get("ids")
    if not isinstance(ids, list) or not all(type(number) is int and 0 < number < 2**63 for number in ids):
        raise Refused(422, "Not a list of photos.")
    return list(dict.fromkeys(ids))
