"""Parameters: optional ones are not nullable, all have a description, equal ones are shared."""

import re
from collections import Counter

from po_api.web.openapi.parts import Json, operations, reference

_MEANINGS = {"_gte": "Lower bound, inclusive", "_lt": "Upper bound, exclusive", "_id": "Id"}


def complete_parameters(spec: Json) -> None:
    """Optional parameters are left out rather than null, If-Match is required, each has a description."""
    for _, _, operation in operations(spec):
        parameters = [tidy_parameter(parameter) for parameter in operation.pop("parameters", [])]
        if parameters:
            operation["parameters"] = parameters


def tidy_parameter(parameter: Json) -> Json:
    """If-Match is required although its absence has a status of its own.

    The examples of optional ones stay in the schema: the docs page sends those of the parameter.
    """
    schema = _without_null(parameter["schema"])
    for name in ("title", "description"):
        schema.pop(name, None)
    if schema.get("default") == []:
        del schema["default"]
    if parameter["name"] == "If-Match":
        parameter["required"] = True
        parameter["example"] = schema.pop("examples")[0]
    parameter["schema"] = schema
    parameter.setdefault("description", _meaning(parameter["name"]))
    return parameter


def _without_null(schema: Json) -> Json:
    """`schema` without the null that only means that a parameter is optional."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **options[0]}


def _meaning(name: str) -> str:
    for suffix, meaning in _MEANINGS.items():
        if name.endswith(suffix):
            return meaning
    return name.replace("_", " ").capitalize()


def share_parameters(spec: Json) -> None:
    """Parameters that several operations have alike are components."""
    with_parameters = [operation for _, _, operation in operations(spec) if "parameters" in operation]
    seen = Counter(repr(parameter) for operation in with_parameters for parameter in operation["parameters"])
    shared: Json = {}

    def share(parameter: Json) -> Json:
        key = "".join(part.capitalize() for part in re.split("[-_]", parameter["name"]))
        if seen[repr(parameter)] == 1 or shared.setdefault(key, parameter) != parameter:
            return parameter
        return reference("parameters", key)

    for operation in with_parameters:
        operation["parameters"] = [share(parameter) for parameter in operation["parameters"]]
    spec["components"]["parameters"] = dict(sorted(shared.items()))
