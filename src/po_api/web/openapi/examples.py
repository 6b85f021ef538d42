"""Examples of bodies, made of the fields' own examples, so that they work when they are sent."""

from typing import Any

from po_api.web.openapi.parts import Json, operations, reference, referred


def add_examples(spec: Json) -> None:
    """An example for each JSON body of a request and of a successful response."""
    examples = _Examples(spec["components"]["schemas"])
    for _, _, operation in operations(spec):
        for media_type, part in operation.get("requestBody", {}).get("content", {}).items():
            # A form's file has no example; its fields have theirs.
            if not media_type.startswith("multipart/"):
                examples.add(part, "Request", is_request=True)
        for response in operation["responses"].values():
            for media_type, part in response.get("content", {}).items():
                if media_type == "application/json":
                    examples.add(part, "Answer", is_request=False)
    spec["components"]["examples"] = dict(sorted(examples.used.items()))


class _Examples:
    """One example for each schema; `used` are those that operations refer to."""

    def __init__(self, schemas: Json) -> None:
        self._schemas = schemas
        self.used: Json = {}
        # A field without an example shows that of another field of its name.
        self._by_name: Json = {}
        for schema in schemas.values():
            for name, field in schema.get("properties", {}).items():
                found = [self._of(part) for part in (field, *field.get("anyOf", [])) if part.get("examples")]
                if found:
                    self._by_name.setdefault(name, found[0])

    def add(self, part: Json, kind: str, *, is_request: bool) -> None:
        name = referred(part["schema"])
        value = self._of_request(self._schemas[name]) if is_request else self._of(part["schema"])
        key = name if name not in self.used or self.used[name]["value"] == value else f"{name}{kind}"
        self.used[key] = {"summary": "An example", "value": value}
        part["examples"] = {"example": reference("examples", key)}

    def _of_request(self, schema: Json) -> Json:
        """The required fields and those with an example of their own, since ids may not exist. A patch sets one."""
        fields = schema["properties"]
        if not schema.get("required"):
            fields = dict([next(iter(fields.items()))])
        else:
            fields = {k: v for k, v in fields.items() if k in schema["required"] or v.get("examples")}
        return {name: self._field(name, field) for name, field in fields.items() if field.get("format") != "binary"}

    def _field(self, name: str, schema: Json) -> Any:
        kinds = [part.get("type") for part in (schema, *schema.get("anyOf", []))]
        if "examples" in schema or "string" not in kinds or "const" in schema or "enum" in schema:
            return self._of(schema)
        return self._by_name.get(name, self._of(schema))

    def _of(self, schema: Json) -> Any:
        if "$ref" in schema:
            return self._of(self._schemas[schema["$ref"].rpartition("/")[2]])
        for key in ("const", "default"):
            if schema.get(key):
                return schema[key]
        for key in ("examples", "enum"):
            if schema.get(key):
                return schema[key][0]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._of(schema[key][0])
        match schema.get("type"):
            case "object":
                return {name: self._field(name, field) for name, field in schema.get("properties", {}).items()}
            case "array":
                return [] if "default" in schema else [self._of(schema["items"])]
            case "integer":
                return 1
            case "boolean":
                return True
        return {"date": "2026-11-30", "date-time": "2026-11-22T10:00:00Z"}.get(schema.get("format", ""), "text")
