"""YAML text to a Policy, or all of its errors at once, each with file, line, column and path."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from interlock.errors import FindingError
from interlock.policies.explain import explain
from interlock.policies.model import Policy
from interlock.policies.model_checks import check_budget, check_draft, draft
from interlock.policies.model_checks_drift import check_accepted
from interlock.policies.positions import Document, Finding, Loc, RefusedError, read_document


@dataclass(frozen=True, slots=True, order=True)
class Located:
    """A finding with its place in a file; line and column count from 1."""

    line: int
    column: int
    path: str
    message: str

    def show(self, name: str, kind: str = "") -> str:
        """Return it as one line."""
        return f"{name}:{self.line}:{self.column}: {kind}{self.path}: {self.message}"


class PolicyErrors(FindingError):  # noqa: N818 - it is many
    """Everything wrong with a policy: `found` in order of place, `lines` the same as text."""

    def __init__(self, name: str, found: Iterable[Located]) -> None:
        """Sort the findings by place."""
        self.found = tuple(sorted(set(found)))
        super().__init__([one.show(name) for one in self.found])


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid policy with the places of its values."""

    policy: Policy
    document: Document

    def locate(self, finding: Finding) -> Located:
        """Return a finding with its place."""
        return _locate(self.document, finding)


def load_policy(text: bytes, name: str) -> Policy:
    """Return the policy of a file's bytes; `name` is the file's, for messages.

    Raises:
        PolicyErrors: with everything that is wrong with it.
    """
    return load_document(text, name).policy


def load_document(text: bytes, name: str) -> Loaded:
    """Return the policy with its positions; raises as `load_policy`."""
    try:
        document = read_document(text)
    except RefusedError as error:
        raise PolicyErrors(name, [_locate(Document(), error.finding)]) from error
    policy, findings = _validate(document)
    if policy is None or findings:
        raise PolicyErrors(name, [_locate(document, finding) for finding in findings])
    return Loaded(policy, document)


def _validate(document: Document) -> tuple[Policy | None, list[Finding]]:
    findings = list(document.findings)
    try:
        policy = Policy.model_validate(document.data)
    except ValidationError as error:
        policy = None
        details = error.errors(include_url=False)
        findings += [one for one in explain(details) if not _within(one.loc, document.broken)]
    findings += check_draft(draft(document.data))
    if policy is not None and not findings:
        findings += check_budget(policy) + check_accepted(policy)
    return policy, findings


def _within(loc: Loc, broken: set[Loc]) -> bool:
    return any(loc[:n] in broken for n in range(len(loc) + 1))


def _locate(document: Document, finding: Finding) -> Located:
    at = document.position(finding)
    return Located(at.line, at.column, _one_line(finding.path), _one_line(finding.message))


def _one_line(text: str) -> str:
    """Return the text with line ends, control characters and lone surrogates as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
