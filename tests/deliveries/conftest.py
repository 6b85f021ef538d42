"""A mail server, and an organisation that may send mail."""

from collections.abc import AsyncIterator

import pytest

from support.mail import ORDERS, MailServer, add_contact, allow_mail, mail_server
from support.organisations import TestOrganisation


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def organisation(organisation: TestOrganisation) -> TestOrganisation:
    """An organisation that may send mail, whose supplier has an address."""
    await allow_mail(organisation)
    await add_contact(organisation, ORDERS)
    return organisation
