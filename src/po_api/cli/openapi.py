"""`po-api openapi`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from po_api.app import create_app
from po_api.operations.databases import Connections
from po_api.settings import Settings

app = typer.Typer()


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="Output file; default: stdout.")] = None,
) -> None:
    """Print the OpenAPI document."""
    unused = Connections("postgresql://", "postgresql://", "")
    text = json.dumps(create_app(Settings(), unused).openapi(), indent=1, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)
