"""`interlock schema`: JSON Schemas of what people and programs write, generated from the types."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from interlock.errors import UserError
from interlock.events import schemas
from interlock.policies.model import Policy
from interlock.records import Control, Page, Verdict

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy file."""
    schema = Policy.model_json_schema(by_alias=True)
    return {"$schema": DIALECT, **schema, "title": "Interlock policy"}


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "policy": policy_schema,
    "prediction": lambda: schemas()["prediction"],
    "outcome": lambda: schemas()["outcome"],
    "abuse": lambda: schemas()["abuse"],
    "verdict": lambda: {"$schema": DIALECT, **Verdict.model_json_schema()},
    "control": lambda: {"$schema": DIALECT, **Control.model_json_schema()},
    "page": lambda: {"$schema": DIALECT, **Page.model_json_schema()},
}
"""The schemas by name; add a function here and `docs/schemas/NAME.json`."""


def schema_text(name: str) -> str:
    """Return a schema as it is committed.

    Raises:
        UserError: no schema has the name.
    """
    if name not in SCHEMAS:
        raise UserError(f"schema: found {name}; expected one of {', '.join(SCHEMAS)}")
    return json.dumps(SCHEMAS[name](), indent=2, ensure_ascii=False) + "\n"


def schema(name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(SCHEMAS)}.")]) -> None:
    """Print a JSON Schema.

    Of a policy file, of an input event, or of what Interlock writes.

    Example: interlock schema policy > policy.json
    """
    typer.echo(schema_text(name), nl=False)
