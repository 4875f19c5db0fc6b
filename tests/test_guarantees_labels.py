"""VERDICTS.md section 5 for indicators that need labels: judged by cohort, so that delays cannot turn into breaches."""

import numpy as np
import pytest

from benchmarks.court import (
    SCORES,
    Court,
    Decisions,
    Flags,
    Floats,
    Ints,
    Judged,
    column,
    decisions,
    during,
    make_policy,
    promise,
    spread,
    tenants,
)
from interlock.policies.context import Learned

pytestmark = pytest.mark.statistical

AUDIT = 0.05
PANES = 600


def recall_court(slices: int = 15, maturity: str = "5d") -> Court:
    """OOD recall of at least .90 per tenant over 7 days: the least threshold that `check` admits, audits of 5 %."""
    policy = make_policy(
        promise("ood_recall_7d", ">= 0.90", "7d"),
        slices,
        false_pages_per_year=5.0 * (slices + 1),
        audits={"rate": AUDIT},
        labels={"maturity": maturity, "join_ttl": "30d"},
    )
    return Court(policy, tenants(slices), Learned({}, audit_probabilities=(AUDIT,), scores_ood=True))


def flags(seed: int, recall: float | Floats, slices: int = 15, panes: int = PANES, volume: int = 2000) -> Flags:
    """`volume` events a pane, 1 % of them OOD, found with probability `recall`; 5 % of the others audited."""
    rng = np.random.default_rng(seed)
    ood = rng.poisson(volume / 100, (panes, slices))
    hits = rng.binomial(ood, np.broadcast_to(recall, ood.shape))
    missed = rng.binomial(ood - hits, AUDIT)
    rest = rng.binomial(volume, AUDIT, ood.shape)
    return Flags(hits, np.full_like(ood, volume) + ood - hits, rest + missed, missed)


def at(counts: Ints, delays: Ints) -> list[Ints]:
    """All labels of pane t come `delays[t]` panes later."""
    return [counts * (delays == d)[:, None] for d in range(int(delays.max()) + 1)]


def prompt(of: Flags, delay: int = 1) -> Ints:
    """All labels after `delay` panes."""
    delays = np.full(len(of.hits), delay)
    return of.joined(at(of.hits, delays), at(of.selected, delays), at(of.missed, delays))


@pytest.mark.parametrize("recall", [0.9, 0.95])
def test_audited_recall_at_or_above_the_target_pages_within_the_bound(recall: float) -> None:
    """A6, A8: E[pages] <= starts / C. 15 tenants, 25 days, C = 1,753. Measured: 2 pages at .90 of a bound of 5.1; .95 none."""
    of, seen = recall_court(), flags(1, recall)
    judged = of.judge(PANES, seen.made(), prompt(seen))

    assert len(judged.pages) <= of.most_pages(15 * PANES)
    assert recall == 0.9 or not judged.pages


def delayed_by_outcome(of: Flags, seed: int) -> Ints:
    """Reviews of hits come after four days on average, audits that find a miss after one, other audits after four."""
    rng = np.random.default_rng(seed)
    slow, fast = (np.diff(-np.exp(-np.arange(0, 400) / (24 * days))) for days in (4, 1))
    missed = spread(rng, of.missed, fast)
    rest = spread(rng, of.selected - of.missed, slow)
    return of.joined(spread(rng, of.hits, slow), [a + b for a, b in zip(missed, rest, strict=True)], missed)


def test_delay_that_depends_on_the_outcome_never_pages() -> None:
    """VERDICTS.md section 1: true recall .95, misses surface a day after and hits four days after; by arrival .185 page.

    Judged by cohort at an age (14 days) by which .95 are in: 0. With 3 % of audits unsettled, which count as misses for `met`, it is not met either.
    """
    of, seen = recall_court(3, "14d"), flags(2, 0.95, 3, 700)
    judged = of.judge(700, seen.made(), delayed_by_outcome(seen, 3))

    assert not judged.pages
    assert judged.states(600) <= {"met", "at_risk", "insufficient"}


def test_delay_that_depends_on_the_outcome_gives_no_evidence_while_labels_are_missing() -> None:
    """Law: judged at a day, with 22 % of hits and 63 % of misses in (recall .87, if one counted them), panes say nothing: labels missing."""
    of, seen = recall_court(3, "24h"), flags(2, 0.95, 3)
    judged = of.judge(PANES, seen.made(), delayed_by_outcome(seen, 3))

    assert not judged.pages
    assert judged.states(400) == {"unidentified"}


def test_audits_in_daily_batches_never_page() -> None:
    """VERDICTS.md section 1: recall .95, reviews within the hour, audits settled at midnight; by arrival all page. Here 0."""
    of, seen = recall_court(5, "26h"), flags(4, 0.95, 5)
    night = 24 - np.arange(PANES) % 24
    joined = seen.joined(at(seen.hits, night * 0 + 1), at(seen.selected, night), at(seen.missed, night))
    judged = of.judge(PANES, seen.made(), joined)

    assert not judged.pages
    assert "met" in judged.states(400)


def test_recall_with_lost_audits_is_not_blocked_and_not_proven() -> None:
    """Pinned: 3 % of audits never settled: identified and no page, but as misses that weigh 20 they forbid `met`."""
    of, seen = recall_court(3, "5h"), flags(4, 0.97, 3)
    rest = seen.selected - seen.missed
    settled = seen.missed + np.random.default_rng(4).binomial(rest, 0.97)
    delays = np.full(PANES, 1)
    joined = seen.joined(at(seen.hits, delays), at(settled, delays), at(seen.missed, delays))
    judged = of.judge(PANES, seen.made(), joined)

    assert not judged.controls
    assert judged.states(400) == {"insufficient"}


@pytest.mark.parametrize(("recall", "delay"), [(0.6, 30), (0.75, 90)])
def test_a_detector_that_goes_blind_for_a_week_pages_once_and_recovers(recall: float, delay: int) -> None:
    """A7, A8: recall .97 falls for 7 days. Measured from the cohort of the fall, labels after 1 h. C = 1,753.

    With .2 OOD events a pane audited: .60 22 h, .75 68 h (A7 reviews every event: 20 h at 10/h). Release 97 to 324 h after
    the end, median 130: the mirrored bets must survive a miss that weighs 20, so a good hour brings .04 nats of 9.
    """
    of, start, end = recall_court(10), 300, 468
    seen = flags(5, during(900, start, end, recall, 0.97), 10, 900)
    judged = of.judge(900, seen.made(), prompt(seen))
    found, over = judged.first(of.scopes) - start + 1, np.array(judged.released()) - end + 1

    assert len(judged.pages) == len(judged.engaged()) == 10
    assert np.median(found) <= delay
    assert over.min() >= 1


def test_an_attacker_who_chooses_ids_that_escape_the_audit_is_unidentified() -> None:
    """Law: the number selected must fit its probability; a recall of .3 that no audit sees is never met, nor a value."""
    of, blind = recall_court(1), flags(6, 0.3, 1)
    nothing = np.zeros_like(blind.hits)
    chosen = Flags(blind.hits, blind.unflagged, nothing, nothing)
    judged = of.judge(PANES, chosen.made(), prompt(chosen))

    assert judged.states(3) == {"unidentified"}


def test_an_attacker_who_spares_every_second_audit_is_unidentified() -> None:
    """Law: the same with half of the audits spared."""
    of, blind = recall_court(1), flags(6, 0.3, 1)
    chosen = Flags(blind.hits, blind.unflagged, blind.selected // 2, blind.missed // 2)
    judged = of.judge(PANES, chosen.made(), prompt(chosen))

    assert judged.states(100) <= {"unidentified", "breached"}


def ece_court(slices: int = 0, **labels: object) -> Court:
    """ECE of decisions of at most .05 over 24 hours (10-minute panes)."""
    more = {"false_pages_per_year": 30 * (slices + 1)} if slices else {}
    policy = make_policy(promise("decision_ece_24h", "<= 0.05", "24h"), slices, labels=labels, **more)
    return Court(policy, tenants(slices) if slices else ("[]",))


@pytest.mark.parametrize("error", [0.0, 0.05])
def test_calibration_at_the_target_pages_within_the_bound(error: float) -> None:
    """A9: E[pages] <= starts / C. 15 tenants, 5 days, 100 labels in ten minutes. Measured: 0 pages, bound 6.2."""
    of, panes = ece_court(15, maturity="1h"), 720
    seen = decisions(np.random.default_rng(10), 100, error, (panes, 15))
    judged = of.judge(panes, seen.made(), seen.joined(1))

    assert len(judged.pages) <= of.most_pages(15 * panes)
    assert error > 0 or judged.states(300) == {"met"}


@pytest.mark.parametrize("error", [0.0, 0.045])
def test_positives_that_come_first_do_not_turn_into_a_miscalibration(error: float) -> None:
    """VERDICTS.md section 1: a true ECE of .045 pages if judged before negatives are in. By cohort at 8 h: 0 pages.

    Positives after half an hour, negatives after 6 h 40; three seeds, one page a year.
    """
    of, panes = ece_court(maturity="8h"), 600
    for seed in (17, 18, 19):
        seen = decisions(np.random.default_rng(seed), 50, error, (panes, 1))
        first, last = Decisions(seen.y, seen.y).joined(3), Decisions(seen.n - seen.y, np.zeros_like(seen.y)).joined(40)
        judged = of.judge(panes, seen.made(), np.concatenate([first, last], axis=1))

        assert not judged.pages
        assert error > 0 or judged.states(300) == {"met"}


def flipping(seed: int, error: float, panes_each: int) -> tuple[Court, Judged]:
    """10 tenants for 5 days, 100 labels in ten minutes, over- and under-confident by turns."""
    of, panes = ece_court(10, maturity="1h"), 720
    turns = np.where(np.arange(panes) // panes_each % 2 == 0, error, -error)
    seen = decisions(np.random.default_rng(seed), 100, column(turns), (panes, 10))
    return of, of.judge(panes, seen.made(), seen.joined(1))


def test_errors_at_the_target_that_change_sign_every_half_day_page_within_the_bound() -> None:
    """Law: the sign bets come from earlier panes only, so a pattern that turns against them gains nothing. Measured: 0, bound 4.1."""
    of, judged = flipping(11, 0.05, 72)

    assert len(judged.pages) <= of.most_pages(7200)


def test_errors_above_the_target_that_change_sign_every_half_day_page_although_they_average_out() -> None:
    """Pinned: .08, then -.08: every stretch misses, and every stream pages; the window's own ECE is near 0.

    The release test sees both signs cancel (its null is one sign per group) and lets go after a turn: outside its null. Measured: 10 streams page once
    (median after 6 h), engage 42 times and are let go 33 times in 5 days; within 24 h that updates the incident.
    """
    of, judged = flipping(11, 0.08, 72)

    assert np.isfinite(judged.first(of.scopes)).all()
    assert np.median(judged.first(of.scopes)) <= 60
    assert len(judged.pages) <= 20


def test_errors_that_change_sign_every_hour_hide_from_the_signs() -> None:
    """Pinned: what turns faster than 5,000 labels has no sign to learn, and averages out: no page, and it shows as met."""
    _, judged = flipping(12, 0.08, 6)

    assert not judged.pages
    assert "met" in judged.states(300)


def lose(of: Decisions, seed: int, lost: float) -> Decisions:
    """The labels of a share of the decisions never come."""
    rng = np.random.default_rng(seed)
    y = rng.binomial(of.y, 1 - lost)
    return Decisions(y + rng.binomial(of.n - of.y, 1 - lost), y)


@pytest.mark.parametrize(("lost", "error", "state"), [(0.03, 0.0, "met"), (0.08, 0.15, "insufficient")])
def test_lost_labels(lost: float, error: float, state: str) -> None:
    """Law: with 3 % of labels lost panes count and the verdict is reached; with 8 % nothing is, and nothing pages.

    Panes of 1,000 decisions, so that chance carries none over coverage .95. A real failure of .15 in the lossy stream
    does not page either: `insufficient: labels missing` is what people see.
    """
    of, panes = ece_court(maturity="1h"), 400
    seen = decisions(np.random.default_rng(13), 1000, error, (panes, 1))
    judged = of.judge(panes, seen.made(), lose(seen, 14, lost).joined(1))
    reasons = {v.evidence.get("reason", "").split(":")[0] for v in judged.verdicts if judged.pane(v) > 50}

    assert not judged.controls
    assert judged.states(50) == {state}
    assert state == "met" or reasons == {"labels missing"}


def test_six_percent_lost_is_missing_labels_over_the_window() -> None:
    """Law: coverage .94 is below .95: no evidence but from panes that chance carries over, and no page at ECE .05."""
    of, panes = ece_court(maturity="1h"), 400
    seen = decisions(np.random.default_rng(15), 1000, 0.05, (panes, 1))
    judged = of.judge(panes, seen.made(), lose(seen, 16, 0.06).joined(1))

    assert not judged.controls
    assert judged.states(50) == {"insufficient"}


def two_bad_days(seed: int) -> tuple[Judged, int, int]:
    """7,000 decisions a day, labels after 6 h, ECE .15 for two days after three good ones, then good ones."""
    of, start, panes = ece_court(maturity="6h"), 3 * 144, 8 * 144
    end = start + 2 * 144
    rng = np.random.default_rng(seed)
    seen = decisions(rng, 7000 / 144, during(panes, start, end, 0.15, 0.0), (panes, 1))
    return of.judge(panes, seen.made(), seen.joined(36)), start, end


def test_ece_of_15_for_two_days_pages_after_about_ten_hours_and_is_released_after_it() -> None:
    """VERDICTS.md section 5, for scale: 10 h (labels after 6 h), release 3 to 31 h after the end.

    Measured over 6 seeds, one page a year: 8.8 to 11.7 h, median 9.8; release 17 to 23 h after the end of the bad cohorts.
    """
    found, over = [], []
    for seed in range(6):
        judged, start, end = two_bad_days(seed)
        assert len(judged.pages) == len(judged.released()) == 1
        found.append((judged.pages[0][1] + 1 - start) / 6)
        over.append((judged.released()[0] + 1 - end) / 6)

    assert 8 <= np.median(found) <= 12
    assert min(over) >= 6
    assert max(over) <= 31


def test_scores_stand_for_what_they_say() -> None:
    """Of the helpers: decisions with error .05 have mean confidence .05 above their mean outcome."""
    seen = decisions(np.random.default_rng(0), 100_000, 0.05, (1, 1))
    gap = (seen.n * SCORES).sum() - seen.y.sum()

    assert abs(gap / seen.n.sum() - 0.05) < 0.01
