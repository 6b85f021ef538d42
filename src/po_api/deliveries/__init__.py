"""Delivery of orders to their suppliers: by mail, or recorded by a member who did it otherwise."""
