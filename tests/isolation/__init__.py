"""A package, since there are other modules named conftest."""
