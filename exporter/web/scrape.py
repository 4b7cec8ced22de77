"""The answer to a scrape: rendered by the client library, and shared where that is costly.

A thousand tunnels take a quarter of a second and 3 MB each time. Many clients at once, or slow
ones, would take all time and memory: what was rendered in the last second is given to them all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from exporter.web.messages import Request, Response, accepts_gzip, compressed

_COSTLY_SECONDS = 0.05
_SHARED_SECONDS = 1.0
_MOST_SHARED = 4
"""How many kinds of answers are kept: formats, compressed or not."""

_Encoder: TypeAlias = Callable[[Collector], bytes]
_Kind: TypeAlias = tuple[str, bool]


class Scrapes:
    """Answers requests for the metrics of a registry."""

    def __init__(
        self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._rendering = threading.Lock()
        self._shared: Mapping[_Kind, tuple[float, Response]] = {}

    def answer(self, request: Request) -> Response:
        """Return all metrics, or those that `name[]` picks, in the format that was asked for."""
        encode, content_type = _encoder(request.header("Accept"))
        kind = (content_type, accepts_gzip(request))
        names = request.query.get("name[]")
        if names:
            return _rendered(encode, self._registry.restricted_registry(names), kind)
        with self._rendering:
            until, response = self._shared.get(kind, (0.0, None))
            if response is None or until <= self._clock():
                response = self._render(encode, kind)
            return response

    def _render(self, encode: _Encoder, kind: _Kind) -> Response:
        began = self._clock()
        response = _rendered(encode, self._registry, kind)
        now = self._clock()
        kept = {key: entry for key, entry in self._shared.items() if entry[0] > now}
        if now - began > _COSTLY_SECONDS and len(kept) < _MOST_SHARED:
            kept[kind] = (now + _SHARED_SECONDS, response)
        self._shared = kept
        return response


def _encoder(accept: str) -> tuple[_Encoder, str]:
    """Return the encoder for an Accept header, and the content type."""
    try:
        return choose_encoder(accept)
    except TypeError:  # a version that isn't made of numbers
        return choose_encoder("")


def _rendered(encode: _Encoder, source: Collector, kind: _Kind) -> Response:
    content_type, packed = kind
    response = Response(HTTPStatus.OK, encode(source), content_type, (("Vary", "Accept"),))
    return compressed(response, accepted=packed)
