"""The answer to a scrape, rendered by the client library."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from exporter.web.messages import Request, Response, accepts_gzip, compressed
from exporter.web.shared import Shared

_OPENMETRICS = "application/openmetrics-text"
_RENDERED_AS = f"{_OPENMETRICS};version=1.0.0;escaping=allow-utf-8"
"""The same bytes in half the time: the client library then escapes no name, and none needs it."""
_FORMATS = 4
"""OpenMetrics or text, compressed or not."""
_MOST_PICKING = 2
"""How many of the workers may be busy with scrapes that pick metrics, each its own."""


class Scrapes:
    """Answers requests for the metrics of a registry."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._all = Shared(clock, most_kept=_FORMATS)
        self._picked = Shared(clock, most_kept=0, most_waiting=_MOST_PICKING)

    def answer(self, request: Request) -> Response:
        """Return all metrics, or those that `name[]` picks, in the format that was asked for."""
        content_type = _content_type(request.header("Accept"))
        names = tuple(request.query.get("name[]", ()))
        # clients may name any version of a format and any escaping: none changes our metrics, and
        # each would have to be rendered again
        key = (content_type.startswith(_OPENMETRICS), accepts_gzip(request), names)
        shared = self._picked if names else self._all
        response = shared.get(key, lambda: self._render(*key))
        if response.status is HTTPStatus.OK:
            return response._replace(content_type=content_type)
        return response

    def _render(self, openmetrics: bool, packed: bool, names: Iterable[str]) -> Response:
        source = self._registry.restricted_registry(names) if names else self._registry
        encode, content_type = choose_encoder(_RENDERED_AS if openmetrics else "")
        response = Response(HTTPStatus.OK, encode(source), content_type, (("Vary", "Accept"),))
        return compressed(response, accepted=packed)


def _content_type(accept: str) -> str:
    """Return what the client library answers to an Accept header."""
    try:
        return choose_encoder(accept)[1]
    except TypeError:  # a version that isn't made of numbers
        return choose_encoder("")[1]
