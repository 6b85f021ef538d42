"""The listeners of all features to the events of features below them."""

from functools import partial

from po_api.api_keys.service import end_keys
from po_api.approval_delegations.events import Delegated, DelegationRevoked
from po_api.approvals.events import PeopleLost, ReminderDue, RunEnded, StepEscalated, StepsActivated
from po_api.comments.events import CommentAdded, CommentEdited, CommentWithdrawn
from po_api.db.listeners import Listeners
from po_api.deliveries.events import DeliveryFailed
from po_api.deliveries.service import send_issued
from po_api.exchange_rates.service import find_rates
from po_api.members.events import MemberChanged, MemberPlaced, MembershipEnded, MembershipRestored
from po_api.members.service import exclude_documents, find_limits, warn_of_reports
from po_api.notifications.service import (
    forget_deleted_comment,
    remind_approvers,
    resolve_delegation,
    tell_approvers,
    tell_decision,
    tell_delegate,
    tell_of_comment,
    tell_of_edited_comment,
    tell_of_escalation,
    tell_of_failed_delivery,
    tell_of_issue,
    tell_of_lost_people,
    tell_of_missing_approvers,
)
from po_api.organisations.events import BaseCurrencyChanging
from po_api.porfs.service import find_porfs
from po_api.purchase_orders.events import OrderIssued
from po_api.purchase_orders.service import find_orders
from po_api.sessions.service import end_sessions
from po_api.structure.service import end_responsibilities, require_places
from po_api.users.membership_service import end_membership, restore_membership


def all_listeners(*, mail_sender: str | None = None) -> Listeners:
    """The listeners of the application, in the order in which they are called.

    `mail_sender` is the address that mails come from; None if the installation sends none.
    """
    listeners = Listeners()
    listeners.add(MembershipEnded, end_membership)
    listeners.add(MembershipEnded, end_sessions)
    listeners.add(MembershipEnded, end_keys)
    listeners.add(MembershipRestored, restore_membership)
    listeners.add(MemberChanged, tell_of_missing_approvers)
    listeners.add(MemberChanged, warn_of_reports)
    listeners.add(MemberChanged, end_responsibilities)
    listeners.add(MemberPlaced, require_places)
    listeners.add(BaseCurrencyChanging, exclude_documents)
    listeners.add(BaseCurrencyChanging, find_porfs)
    listeners.add(BaseCurrencyChanging, find_orders)
    listeners.add(BaseCurrencyChanging, find_rates)
    listeners.add(BaseCurrencyChanging, find_limits)
    listeners.add(OrderIssued, partial(send_issued, sender=mail_sender))
    listeners.add(OrderIssued, tell_of_issue)
    listeners.add(StepsActivated, tell_approvers)
    listeners.add(RunEnded, tell_decision)
    listeners.add(ReminderDue, remind_approvers)
    listeners.add(StepEscalated, tell_of_escalation)
    listeners.add(PeopleLost, tell_of_lost_people)
    listeners.add(Delegated, tell_delegate)
    listeners.add(DelegationRevoked, resolve_delegation)
    listeners.add(CommentAdded, tell_of_comment)
    listeners.add(CommentEdited, tell_of_edited_comment)
    listeners.add(CommentWithdrawn, forget_deleted_comment)
    listeners.add(DeliveryFailed, tell_of_failed_delivery)
    return listeners
