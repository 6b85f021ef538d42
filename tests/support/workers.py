"""Doing the work of one organisation: the tests of a process share a database, and leave work of others behind."""

from po_api.core.shared_work import SharedWork
from po_api.mail.transports import Mailer
from po_api.webhooks.networks import LOOPBACK, Destinations
from po_api.webhooks.sending import Sender
from po_api.work import all_work
from po_api.worker.queues import QueueRunner, TenantTaskRunner
from support.organisations import Tenant
from support.polling import Deadline

LOCAL = Destinations.of(LOOPBACK)


async def work_until_idle(
    tenant: Tenant,
    *,
    names: frozenset[str] | None = None,
    mailer: Mailer | None = None,
    sender: Sender | None = None,
) -> int:
    """Do all work of the organisation that is due, of these names or of all; returns how often there was some.

    `mailer` sends mail, by default as the application does, `sender` webhooks, by default to receivers on this machine.
    """
    database, state = tenant.database, tenant.app.state
    sender = sender or Sender(LOCAL)
    work = all_work(
        database,
        secret_key=state.secret_key,
        renderings=SharedWork(),
        filing=state.filing,
        mailer=mailer or state.mailer,
        sender=sender,
        listeners=state.listeners,
    )
    runners: list[QueueRunner | TenantTaskRunner] = [
        QueueRunner(database, queue, handler) for queue, handler in work.queues if names is None or queue.name in names
    ]
    runners += [TenantTaskRunner(database, task) for task in work.tenant_tasks if names is None or task.name in names]
    return sum([await run_until_idle(runner, tenant.organisation_id) for runner in runners])


async def run_until_idle(runner: QueueRunner | TenantTaskRunner, organisation_id: int) -> int:
    """Do all that is due in the organisation; returns how often there was some."""
    count, deadline = 0, Deadline("an organisation without work")
    while await _run_one(runner, organisation_id):
        deadline.check()
        count += 1
    return count


async def _run_one(runner: QueueRunner | TenantTaskRunner, organisation_id: int) -> bool:
    if isinstance(runner, TenantTaskRunner):
        return await runner.run_in(organisation_id)
    job = await runner.take(organisation_id)
    if job is not None and not job.is_spent:
        await runner.attempt(job)
    return job is not None
