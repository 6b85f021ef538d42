"""The application, as the process loads it from which others are forked (support/forked.py)."""

import gc

# Modules stay: looking for garbage among them takes a fifth of the time until they are loaded, and is repeated in each
# process that is forked, which then copies their memory.
gc.disable()

import alembic.config  # noqa: E402, F401

import po_api.app  # noqa: E402
import po_api.cli.main  # noqa: E402
import po_api.operations.migrations  # noqa: E402, F401

gc.freeze()
gc.enable()
