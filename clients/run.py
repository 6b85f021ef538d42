"""Run the main job with every generated client, against a temporary server."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Of the environment that runs this file: the project's.
PO_API = str(Path(sys.executable).with_name("po-api"))
NODE = str(HERE / ".venv/bin/node")
PYTHON = str(HERE / ".venv/bin/python")
PROGRAMS = {
    "openapi-typescript": [NODE, "openapi_typescript.ts"],
    "@hey-api/openapi-ts": [NODE, "hey_api.ts"],
    "orval": [NODE, "orval.ts"],
    "openapi-python-client": [PYTHON, "python_client.py"],
}


@contextmanager
def serving(directory: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A server with demo data in `directory`: its URL, and the environment in which `po-api` finds the same data."""
    # Nothing of the caller's settings, neither their environment nor their .env file.
    env = {"PATH": os.environ["PATH"], "PO_DATA_DIR": directory, "PORT": "0", "LOG_LEVEL": "WARNING"}
    command = [PO_API, "serve", "--demo"]
    with subprocess.Popen(command, cwd=directory, env=env, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout
            found = re.search(r"http://[^/]+", server.stdout.readline())
            if not found:
                raise SystemExit("the server did not start")
            yield found[0], env
        finally:
            server.terminate()


def access_token(user: str, directory: str, env: Mapping[str, str]) -> str:
    command = [PO_API, "sessions", "create", "--email", f"{user}@demo.example"]
    return subprocess.check_output(command, cwd=directory, env=env, text=True).strip()  # noqa: S603


def main() -> None:
    # An orderly exit, which stops the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="po-clients-") as directory, serving(directory) as (url, server_env):
        users = ("requester", "approver", "buyer")
        tokens = {f"{user.upper()}_TOKEN": access_token(user, directory, server_env) for user in users}
        env = {"PATH": os.environ["PATH"], **tokens, "API_URL": url, "PYTHONPATH": str(HERE / "build")}
        for name, command in PROGRAMS.items():
            sys.stdout.write(f"{name}: ")
            sys.stdout.flush()
            if subprocess.run(command, cwd=HERE / "main_job", env=env, check=False).returncode:  # noqa: S603
                raise SystemExit(f"the main job failed with the client of {name}")


if __name__ == "__main__":
    main()
