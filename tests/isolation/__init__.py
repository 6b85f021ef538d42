"""A package, as its conftest.py is not the only module of that name."""
