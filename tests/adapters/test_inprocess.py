"""Mailboxes inside one process pass the contract of every mailbox."""

import pytest

from tests.conformance.mailbox import MailboxContract
from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.ports.mailbox import Mailbox


class TestInProcessMailbox(MailboxContract):
    """One process: the owner's door is called at once."""

    @pytest.fixture
    def mailbox(self) -> Mailbox:
        return InProcessMailbox()
