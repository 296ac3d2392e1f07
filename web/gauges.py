"""The runtime's and the views' figures for `/metrics`, brought up to date when they are scraped."""

from aioprometheus.collectors import Gauge, Registry

from ultramarket.runtime.system import Runtime
from ultramarket.views.projector import Projector


class Gauges:
    """Figures of one process.

    Attributes:
        registry: holds them; the web layer adds its own.
    """

    def __init__(self, runtime: Runtime, projector: Projector) -> None:
        self._runtime = runtime
        self._projector = projector
        self.registry = Registry()
        self._gauges: dict[str, Gauge] = {}

    def refresh(self) -> None:
        """Bring every figure up to date."""
        measures = self._runtime.measures()
        self._set("commits_total", "Commits of the journal since the start.", measures.commits)
        self._set("commit_seconds_total", "Time spent waiting for commits.", measures.commit_seconds)
        self._set("loads_total", "Selects that brought entities into memory.", measures.loads)
        self._set("turns_total", "Turns committed since the start.", measures.turns)
        self._set("commands_total", "Commands and messages settled by those turns.", measures.commands)
        self._set("events_total", "Events appended since the start.", measures.events)
        self._set(
            "splits_total", "Groups that were split because the store refused something in them.", measures.splits
        )
        entities, size = self._runtime.memory()
        self._set("entities_in_memory", "Entities kept in memory.", entities)
        self._set("entity_bytes", "Bytes of the entities in memory, by estimate.", size)
        for kind, depth in self._runtime.depths().items():
            self._set("mailbox_depth", "Deliveries that wait, by kind.", depth, kind=kind)
        for view, (events, seconds) in self._projector.lag().items():
            self._set("view_lag_events", "Events that a view has not shown yet.", events, view=view)
            self._set("view_lag_seconds", "Age of the oldest event that a view has not shown yet.", seconds, view=view)

    def _set(self, name: str, doc: str, value: float, **labels: str) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(f"ultramarket_{name}", doc, registry=self.registry)
        gauge.set(labels, value)
