"""Settings from flags, environment and a YAML file, the first that says something; each knows where it is from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from interlock.connection import VARIABLE, problems
from interlock.errors import UserError
from interlock.policies.explain import did_you_mean, expected, show
from interlock.policies.positions import MAX_BYTES, Document, Finding, RefusedError, plain_value, read_document
from interlock.streams.settings import SECRETS, Settings

FILE = "INTERLOCK_SETTINGS"
"""Names the settings file where no flag does."""

NEAR = 0.85
"""A variable this near to a setting's is a slip; others are none of our business."""

KNOWN = tuple(Settings.model_fields)
VARIABLES = (FILE, *(VARIABLE + name.upper() for name in KNOWN))
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from: `flags` by name, where given; `sets` are NAME=VALUE; the file, if any; the environment."""

    flags: Mapping[str, object]
    sets: Sequence[str]
    file: Path | None
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and where each that is set was set."""

    settings: Settings
    origins: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """Yield each setting with its value and where that is from; secrets as ***."""
        shown = {name: _shown(name, getattr(self.settings, name)) for name in KNOWN}
        wide = max(map(len, KNOWN)), max(map(len, shown.values()))
        for name, value in shown.items():
            yield f"{name:<{wide[0]}}  {value:<{wide[1]}}  {self.origins.get(name, DEFAULT)}"


class _Layers:
    """Values by name, and where each is from: what is put later stands over what was there."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.origins: dict[str, str] = {}
        self.said: list[str] = []

    def put(self, layer: Mapping[str, tuple[object, str]]) -> None:
        """Put a layer of (value, origin) over the others; a secret and its file are one thing, said in two ways."""
        for name in layer:
            for other in (f"{name}_file", name.removesuffix("_file")):
                if other != name and other not in layer:
                    self.values.pop(other, None)
        for name, (value, origin) in layer.items():
            self.values[name], self.origins[name] = value, origin


def read_settings(source: Source) -> Resolved:
    """Return the settings.

    Raises:
        UserError: something is wrong, a line for each: where, what was found, what was expected.
    """
    layers = _Layers()
    named = source.file or (Path(source.environment[FILE]) if source.environment.get(FILE) else None)
    if named is not None:
        layers.put(_of_file(named, layers.said))
    layers.put(_of_environment(source.environment, layers.said))
    layers.put(_of_sets(source.sets, layers.said))
    layers.put(
        {name: (value, f"flag --{name.replace('_', '-')}") for name, value in source.flags.items() if value is not None}
    )
    settings = _validated(layers)
    if layers.said or settings is None:
        raise UserError("\n".join(layers.said))
    return Resolved(settings, {name: origin for name, origin in layers.origins.items() if name in layers.values})


def _of_file(path: Path, said: list[str]) -> dict[str, tuple[object, str]]:
    try:
        with path.open("rb") as file:
            document = read_document(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except RefusedError as error:
        at, message = (
            error.finding.at,
            error.finding.message.replace("policy with the key `slos`", "mapping of settings"),
        )
        raise UserError(f"{path}:{at.line if at else 1}: {message}") from None
    said += [f"{_at(path, document, one)}: {one.message}" for one in document.findings]
    if not isinstance(document.data, dict):
        raise UserError(f"{path}:1: found {show(document.data)}; expected a mapping of settings")
    found: dict[str, tuple[object, str]] = {}
    for name, value in document.data.items():
        origin = _at(path, document, Finding((name,), "", at_key=True))
        if name in SECRETS:
            said.append(f"{origin}: {name}: found a secret in a settings file; {_elsewhere(name)}")
        elif not name.startswith("x-") and (name,) not in document.broken:
            found[name] = (value, origin)
    return found


def _at(path: Path, document: Document, finding: Finding) -> str:
    return f"{path}:{document.position(finding).line}"


def _elsewhere(name: str) -> str:
    return f"expected {VARIABLE}{name.upper()}, or {name}_file"


def _of_environment(environment: Mapping[str, str], said: list[str]) -> dict[str, tuple[object, str]]:
    names = {VARIABLE + name.upper(): name for name in KNOWN}
    others = [one for one in environment if one.startswith(VARIABLE) and one not in names]
    said += [f"{one}: no such setting{hint}" for one in others if (hint := did_you_mean(one, names, NEAR))]
    return {
        name: (_typed(name, environment[variable]), f"environment {variable}")
        for variable, name in names.items()
        if environment.get(variable)
    }


def _of_sets(sets: Sequence[str], said: list[str]) -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for one in sets:
        name, equals, text = one.partition("=")
        if name in SECRETS:
            said.append(f"--set {name}: found a secret on the command line, where all can see it; {_elsewhere(name)}")
        elif not equals:
            said.append(f"--set {one}: expected NAME=VALUE")
        else:
            found[name] = (_typed(name, text), f"flag --set {name}")
    return found


def _typed(name: str, text: str) -> object:
    """Return a text as what it says, where the setting is not a text itself."""
    field = Settings.model_fields.get(name)
    if field is None or field.annotation not in {bool, float}:
        return text
    value, problem = plain_value(text)
    return text if problem else value


def _validated(layers: _Layers) -> Settings | None:
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=True):
            name = str(one["loc"][0])
            where = layers.origins.get(name, name)
            if one["type"] == "extra_forbidden":
                layers.said.append(
                    f"{where}: unknown setting {name}{did_you_mean(name, KNOWN) or '; expected one of ' + ', '.join(KNOWN)}"
                )
            else:
                found = "***" if name in SECRETS else show(one["input"])
                layers.said.append(f"{where}: {name}: found {found}; expected {expected(one)}")
        return None
    layers.said += [
        f"{layers.origins[name]}: {name}: {message}" if name in layers.origins else f"{name}: {message}"
        for name, message in problems(settings.connection)
    ]
    return settings


def _shown(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name in SECRETS:
        return "***"
    return str(value).lower() if isinstance(value, bool) else str(value)
