"""The feed of events, which integrators follow, and the seals of the audit trail."""
