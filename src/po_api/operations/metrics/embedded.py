"""How often the embedded server was restarted."""

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily

from po_api.operations.embedded.supervisor import Supervisor


class EmbeddedFigures:
    """Has no sample if there is no embedded server."""

    def __init__(self, supervisor: Supervisor | None) -> None:
        self._supervisor = supervisor

    async def __call__(self) -> list[Metric]:
        restarts = CounterMetricFamily(
            "po_embedded_server_restarts_total", "Restarts of the embedded PostgreSQL after it had ended"
        )
        if self._supervisor is not None:
            restarts.add_metric([], self._supervisor.restarts)
        return [restarts]
