"""Notifications: what members are told of, in the application and by mail."""
