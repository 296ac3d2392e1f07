"""The live connections' figures for `/metrics`, read when they are scraped."""

from collections.abc import Callable
from typing import Any

from aioprometheus.collectors import Gauge, Registry

from ultramarket.views.tailer import Tailer
from web.ws.hub import Hub


def install(hub: Hub, tailer: Tailer, registry: Registry) -> None:
    """Register the figures."""
    figures: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("ws_connections", "Live connections that are open.", lambda: hub.connections),
        ("ws_subscriptions", "Their subscriptions.", lambda: hub.subscriptions),
        ("ws_errors_total", "Error frames sent since the start.", lambda: hub.figures.refused),
        ("ws_cut_total", "Connections cut since the start because they were too slow.", lambda: hub.figures.cut),
        ("ws_log_reads_total", "Times that the log was looked at for news.", lambda: tailer.measures.turns),
        ("ws_log_events_total", "Events read from the log's end.", lambda: tailer.measures.events),
    )
    for name, doc, read in figures:
        _Figure(name, doc, registry, read)


class _Figure(Gauge):
    def __init__(self, name: str, doc: str, registry: Registry, read: Callable[[], float]) -> None:
        super().__init__(f"ultramarket_{name}", doc, registry=registry)
        self._read = read

    def get_all(self) -> list[tuple[dict[str, str], Any]]:
        return [({}, self._read())]
