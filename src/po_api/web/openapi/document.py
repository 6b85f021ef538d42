"""The document as FastAPI derives it, and the passes that complete it."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from po_api.web.openapi import bodies, examples, parameters, responses, schemas, security, sent, texts
from po_api.web.openapi.parts import Json

Pass = Callable[[Json], None]

# In this order: later passes rely on earlier ones. tests/web/test_openapi_passes.py shows that each is needed.
PASSES: Sequence[Pass] = (
    security.add_cookie_scheme,
    schemas.drop_validation_errors,
    schemas.tidy_schemas,
    parameters.complete_parameters,
    responses.complete_responses,
    responses.add_not_modified,
    bodies.complete_bodies,
    texts.describe_operations,
    security.state_security,
    examples.add_examples,
    responses.add_shared_responses,
    schemas.add_problem_schemas,
    schemas.open_response_schemas,
    parameters.share_parameters,
    sent.complete_webhooks,
)

_COMPONENTS = ("schemas", "securitySchemes", "responses", "headers", "examples", "parameters")


def all_routes(app: FastAPI) -> list[BaseRoute]:
    """The application's routes, including those in groups (web/fast_path.py)."""
    return [route for entry in app.routes for route in getattr(entry, "routes", None) or (entry,)]


def document(app: FastAPI) -> Json:
    """The OpenAPI 3.1 document of the application, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = completed(app, PASSES)
    return app.openapi_schema


def completed(app: FastAPI, passes: Sequence[Pass]) -> Json:
    """FastAPI's document after these passes."""
    spec = _derived(app)
    for complete in passes:
        complete(spec)
    components = spec["components"]
    components["schemas"] = dict(sorted(components["schemas"].items()))
    spec["components"] = {kind: components[kind] for kind in _COMPONENTS if kind in components}
    return spec


def _derived(app: FastAPI) -> Json:
    spec: Json = get_openapi(
        title=app.title,
        version=app.version,
        description=texts.DESCRIPTION.strip(),
        routes=all_routes(app),
        webhooks=app.webhooks.routes,
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/", "description": "This server"}],
        tags=[{"name": name, "description": text} for name, text in texts.TAGS.items()],
        separate_input_output_schemas=False,
    )
    return spec
