"""The configuration of the log, which commands and applications in one process make several times."""

from structlog.testing import capture_logs

from po_api.observability import logging


def test_a_logger_in_use_follows_a_later_configuration() -> None:
    logging.configure("WARNING")
    log = logging.get_logger(__name__)
    log.warning("first_use")
    logging.configure("WARNING")
    with capture_logs() as logged:
        log.warning("second_use")
    assert [entry["event"] for entry in logged] == ["second_use"]
