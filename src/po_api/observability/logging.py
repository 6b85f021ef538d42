"""structlog: JSON lines, or readable ones on a terminal. Bodies, tokens and e-mail addresses are not logged."""

import logging
import sys

import structlog

# One list for all calls of `configure`: loggers keep the one of their first use, and later calls have to reach them.
_processors: list[structlog.typing.Processor] = []


def configure(level: str) -> None:
    """Send the application's log to stderr; stdout is for the output of commands."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    _processors[:] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        renderer,
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
