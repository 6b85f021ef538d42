"""The parts of the document: functions with which the passes read and write them."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def operations(spec: Json) -> Iterator[tuple[str, str, Json]]:
    """The path, the method in lower case and the operation of each operation."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def parameter_names(operation: Json) -> list[str]:
    return [parameter["name"] for parameter in operation.get("parameters", [])]


def is_public(operation: Json) -> bool:
    """Whether the operation can be called without credentials; for passes before `texts.state_security`."""
    return "security" not in operation


def reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def referred(part: Json) -> str:
    """The name of the component that `part` refers to."""
    name: str = part["$ref"].rpartition("/")[2]
    return name


def header_references(*names: str) -> Json:
    return {name: reference("headers", name) for name in names}
