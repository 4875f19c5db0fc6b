"""What every part of a policy shares: frozen, strict, unknown keys refused, `x-` keys dropped."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

Action = Literal["degrade_to_safe_mode", "route_to_human_review", "kill_switch", "throttle", "notify"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=200)]
Text = Annotated[str, Field(min_length=1)]
Cel = Annotated[str, Field(min_length=1, examples=["features.amount > 50000 && route == 'automatic'"])]
"""An expression in CEL over the fields of an event."""
Share = Annotated[float, Field(gt=0, le=1)]


class Part(BaseModel):
    """A mapping of the policy file. Values are taken as they are typed: `"1"` is no number, `1` is no text."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        json_schema_extra={"patternProperties": {"^x-": {}}},
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        """Drop `x-` keys; take lists for tuples, which strict mode would refuse."""
        if not isinstance(data, dict):
            return data
        kept = {key: value for key, value in data.items() if not str(key).startswith("x-")}
        return {key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()}


def parse_scalar(value: object) -> str | float | bool:
    """Return a label, prediction or decision; numbers are doubles, as they are in events."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return float(value)
    raise ValueError("text, a number, true or false")


Scalar = Annotated[
    str | float | bool, BeforeValidator(parse_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]


def parse_names(value: object) -> object:
    """Return one text as a list of one."""
    return (value,) if isinstance(value, str) else value
