"""Webhooks: endpoints of other systems, to which the events of an organisation are delivered (Standard Webhooks)."""
