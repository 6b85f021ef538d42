"""The examples of the OpenAPI document: made of the fields' own ones, so that they work when tried out."""

from typing import Any

Json = dict[str, Any]


class Examples:
    """Examples made of the fields' own ones, one for each schema; `used` are those that operations refer to."""

    def __init__(self, schemas: Json) -> None:
        self._schemas = schemas
        self.used: Json = {}
        # A field that brings none shows what another of its name brings.
        self._by_name: Json = {}
        for schema in schemas.values():
            for name, field in schema.get("properties", {}).items():
                shown = [self._of(part) for part in (field, *field.get("anyOf", [])) if part.get("examples")]
                if shown:
                    self._by_name.setdefault(name, shown[0])

    def add_to(self, operation: Json) -> None:
        for media_type, part in operation.get("requestBody", {}).get("content", {}).items():
            # A form's file has no example; its fields bring theirs.
            if not media_type.startswith("multipart/"):
                self._add(part, "Request", is_sent=True)
        for response in operation["responses"].values():
            for media_type, part in response.get("content", {}).items():
                if media_type == "application/json":
                    self._add(part, "Answer", is_sent=False)

    def _add(self, part: Json, kind: str, *, is_sent: bool) -> None:
        name = part["schema"]["$ref"].rpartition("/")[2]
        value = self._sent(self._schemas[name]) if is_sent else self._of(part["schema"])
        key = name if name not in self.used or self.used[name]["value"] == value else f"{name}{kind}"
        self.used[key] = {"summary": "An example", "value": value}
        part["examples"] = {"example": {"$ref": f"#/components/examples/{key}"}}

    def _sent(self, schema: Json) -> Json:
        """What is required and what has an example of its own: no ids that need not exist. A patch sets one field."""
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
        if "anyOf" in schema:
            return self._of(schema["anyOf"][0])
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
