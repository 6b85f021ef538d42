"""Progress messages of the benchmark."""

import sys
import time

_STARTED = time.monotonic()


def say(text: str) -> None:
    sys.stderr.write(f"[{time.monotonic() - _STARTED:5.0f} s] {text}\n")
    sys.stderr.flush()
