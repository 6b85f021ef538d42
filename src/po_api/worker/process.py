"""`po-api worker`: a worker in a process of its own."""

import asyncio
import signal

from po_api.core.shared_work import SharedWork
from po_api.db.database import open_database
from po_api.filing.destinations import destination_of
from po_api.listeners import all_listeners
from po_api.mail.transports import mailer_of
from po_api.observability import instrumentation
from po_api.observability.logging import get_logger
from po_api.operations.databases import Connections
from po_api.operations.schema import require_head
from po_api.settings import Settings
from po_api.webhooks.networks import Destinations
from po_api.webhooks.sending import Sender
from po_api.work import all_work
from po_api.worker.worker import Worker

# For what is in progress at SIGTERM; then it is given back. Less than the 30 seconds after which process managers kill.
STOP_SECONDS = 20

_log = get_logger(__name__)


async def work(settings: Settings, found: Connections, *, once: bool) -> None:
    """Work until SIGTERM or SIGINT, or with `once` until nothing is due. Raises StaleSchema."""
    # Before connecting: an exception, such as that of the caller's handler, is lost in SQLAlchemy's first look at the
    # server, which then fails.
    stopping = None if once else _stopped_by(signal.SIGTERM, signal.SIGINT)
    instrumentation.configure(slow_query_ms=settings.db_slow_query_ms)
    database = open_database(found.app_url, settings)
    try:
        async with database.engine.connect() as connection:
            await require_head(connection)
        mailer = mailer_of(settings)
        filing, sender = destination_of(settings), Sender(Destinations.of(settings.webhook_allowed_networks))
        everything = all_work(
            database,
            secret_key=found.secret_key,
            renderings=SharedWork(),
            filing=filing,
            mailer=mailer,
            sender=sender,
            listeners=all_listeners(mail_sender=settings.mail_from if mailer else None),
        )
        worker = Worker(database, everything)
        if stopping is None:
            await worker.run_until_idle()
            return
        worker.start()
        _log.info("worker_started")
        await stopping.wait()
        await worker.stop(seconds=STOP_SECONDS)
        _log.info("worker_stopped")
    finally:
        await database.dispose()


def _stopped_by(*signals: signal.Signals) -> asyncio.Event:
    """An event that the signals set, from now on."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in signals:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))
    return stopping
