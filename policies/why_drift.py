"""What `interlock why` says of the streams of drift."""

from collections.abc import Mapping
from typing import Any

from interlock.policies.why_words import number, odds, when

MOST = 10
"""Streams without drift that are told."""


def streams(told: Mapping[str, Any]) -> list[str]:
    """Return a line for each stream that drifted, one for what is accepted, the effect sizes of the others, what is blind."""
    listed = told.get("streams")
    if not isinstance(listed, list):
        return []
    lines = [_drifted(one) for one in listed if one.get("drifted")]
    rest = [f"{one['stream']} (PSI {number(one['psi'])}, n {one['n']:,})" for one in listed if not one.get("drifted")]
    quiet = f"Watched: {told.get('watched')} streams. Largest differences without evidence of drift: {', '.join(rest[:MOST])}."
    accepted = [
        f"Accepted until {when(one['until'])}: {one['stream']}, {one['reason']}." for one in told.get("accepted", ())
    ]
    blind = f"Blind, since their reference is too small for how much it varies: {', '.join(told.get('blind', ()))}."
    return lines + accepted + ([quiet] if rest else []) + ([blind] if told.get("blind") else [])


def _drifted(one: Mapping[str, Any]) -> str:
    strength = f"; evidence {odds(one['log_e'])}" if one.get("log_e") else ""
    ordered = f", KS {number(one['ks'])}, W1 {number(one['w1'])}" if "ks" in one else ""
    sizes = f"PSI {number(one['psi'])}, JS {number(one['js'])}, Hellinger {number(one['hellinger'])}{ordered}"
    held = f"clear after {one['hold']} panes without a warning, {one['clear']} so far"
    return f"{one['stream']} since {when(one['since'])}: {one['says']} ({sizes}, n {one['n']:,}{strength}; {held})."
