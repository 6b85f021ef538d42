"""The measured servers: po-api and its peers, each with a production configuration."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import App, Cores, free_port, serving

HERE = Path(__file__).resolve().parent
NAME, LIMIT, FLASK = "po-api", "limit", "Flask stack"
WITH_WORKER = "po-api with worker"
PEERS = (LIMIT, FLASK)
KEY = "benchmark-only-0123456789abcdef0123456789abcdef"
# The best of 1 to 16 threads: more of them contend with each other. Idle connections use none.
FLASK_THREADS = 4
_UNLIMITED = "1000000000/minute"


def environment(url: str, **more: str) -> dict[str, str]:
    """The environment of po-api, without inherited settings: no log of requests and no rate limits, as its peers."""
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": url,
        "SECRET_KEY": KEY,
        "LOG_LEVEL": "WARNING",
        "RATE_LIMIT_PER_USER": _UNLIMITED,
        "RATE_LIMIT_PER_ADDRESS": _UNLIMITED,
        **more,
    }


@contextmanager
def po_api(url: str, cores: Cores, *, name: str = NAME, worker: bool = False) -> Iterator[App]:
    """`po-api serve`; with `worker` as by default, else as where the worker is a process of its own."""
    port = free_port()
    env = environment(url, PORT=str(port), WORKER="on" if worker else "off")
    program = str(Path(sys.executable).with_name("po-api"))
    with serving(name, [program, "serve"], env, port=port, cores=cores, probe="/health/ready") as app:
        yield app


@contextmanager
def peer(name: str, url: str, cores: Cores) -> Iterator[App]:
    port = free_port()
    # The peers' own packages, and behind them the project's, which are of the same versions.
    packages = [str(path) for path in sorted((HERE / ".venv/lib").glob("python*/site-packages"))]
    env = environment(url, PYTHONPATH=os.pathsep.join([str(HERE.parent), *packages]))
    commands = {
        LIMIT: ["-m", "benchmarks.peers.limit", str(port)],
        FLASK: [
            *("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--keep-alive", "75"),
            *("--threads", str(FLASK_THREADS), "--log-level", "warning", "benchmarks.peers.flask_stack:app"),
        ],
    }
    with serving(name, [sys.executable, *commands[name]], env, port=port, cores=cores) as app:
        yield app
