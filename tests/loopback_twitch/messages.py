"""What passes between the proxy and the service: one request, one response."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"


@dataclass
class Request:
    """One request as it reached the service. kind: which host it is for (gql, usher, media, api, id, www)."""

    kind: str
    host: str
    method: str
    path: str  # without the query
    pairs: list[tuple[str, str]]  # of the query, in order
    headers: dict[str, str]  # names in lower case
    body: bytes
    operations: list[str] = field(default_factory=list)  # GraphQL operations, in order
    variables: list[dict[str, Any]] = field(default_factory=list)
    vod: str = ""  # the id of the VOD that it is about, where there is one
    segment: int | None = None  # index of the media segment

    @property
    def query(self) -> dict[str, str]:
        return dict(self.pairs)


@dataclass
class Response:
    """What goes back. cut_after: bytes of the body after which the connection is cut."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> Response:
        """A JSON answer; header names with _ for -."""
        named = {name.replace("_", "-"): str(text) for name, text in headers.items()}
        return cls(status, json.dumps(value, ensure_ascii=False).encode(), headers=named)
