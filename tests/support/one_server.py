"""Tests that only one server can pass: they are skipped where PO_TEST_CITUS_URL names a distributed database."""

import os

import pytest

IS_DISTRIBUTED = "PO_TEST_CITUS_URL" in os.environ


def one_server(why: str) -> pytest.MarkDecorator:
    """The mark of such a test, with what a distributed database does differently."""
    return pytest.mark.skipif(IS_DISTRIBUTED, reason=f"one server only: {why}")


# Coordinators show the tasks that they send, or a call of run_prepared, instead of the plan of a server with rows.
plans_of_one_server = one_server("asserts a plan")
