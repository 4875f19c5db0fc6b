-- Tallies, verdicts, controls, pages, dead letters and frozen events, and the views that answer the usual questions. Applying it again changes
-- nothing. It runs on chdb and on a ClickHouse server (25.8 or newer) alike.
--
-- Every table remembers the tokens of its last inserts, so that a batch sent twice counts once; every key says what a row
-- is about, so that a batch sent again after its token was forgotten replaces itself. Tables are read through FINAL.
-- An insert touches one month only: that is one part, and parts are atomic.

CREATE DATABASE IF NOT EXISTS interlock;

-- Counts of closed panes. `cell` numbers a count within its series, as policies/plan.py says; sums of probabilities are
-- fixed point in 1/2^32. `source` is who counted: a shard, or a replay.
CREATE TABLE IF NOT EXISTS interlock.tallies
(
    pane_start    DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    pane_ms       UInt32               CODEC(ZSTD(1)),
    cohort_start  DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    chain         LowCardinality(String),
    model         LowCardinality(String),
    model_version LowCardinality(String),
    slice         LowCardinality(String),
    series        LowCardinality(String),
    cell          UInt32               CODEC(ZSTD(1)),
    count         Int64                CODEC(T64, ZSTD(1)),
    source        LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(pane_start)
ORDER BY (model, series, chain, slice, model_version, pane_start, cohort_start, cell, source)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS interlock.verdicts
(
    ts             DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    verdict_id     String,
    model          LowCardinality(String),
    slo            LowCardinality(String),
    scope          LowCardinality(String),
    window_start   DateTime64(3, 'UTC'),
    window_end     DateTime64(3, 'UTC'),
    state          LowCardinality(String),
    value          Nullable(Float64),
    lower          Nullable(Float64),
    upper          Nullable(Float64),
    n              Int64,
    label_coverage Nullable(Float64),
    target         LowCardinality(String),
    evidence       String               CODEC(ZSTD(3)),
    policy_digest  LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (model, slo, scope, ts, verdict_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- One row per transition. `ts` is event time; `issued_at` is when it was sent, by wall clock.
CREATE TABLE IF NOT EXISTS interlock.controls
(
    ts            DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    control_id    String,
    epoch         UInt32,
    model         LowCardinality(String),
    scope         LowCardinality(String),
    action        LowCardinality(String),
    mode          LowCardinality(String),
    state         LowCardinality(String),
    parameters    String               CODEC(ZSTD(3)),
    slo           LowCardinality(String),
    verdict_id    String,
    cause         String,
    evidence      String               CODEC(ZSTD(3)),
    policy_digest LowCardinality(String),
    issued_at     DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(issued_at)
PARTITION BY toYYYYMM(ts)
ORDER BY (model, slo, scope, action, epoch, ts, state, control_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- What on-call was told, as it was published; `details` is JSON of plain texts. Pages of one engagement share an incident.
CREATE TABLE IF NOT EXISTS interlock.pages
(
    ts         DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    page_id    String,
    action     LowCardinality(String),
    incident   String,
    severity   LowCardinality(String),
    summary    String               CODEC(ZSTD(3)),
    model      LowCardinality(String),
    slo        LowCardinality(String),
    scope      LowCardinality(String),
    control_id String,
    epoch      UInt32,
    mode       LowCardinality(String),
    verdict_id String,
    details    String               CODEC(ZSTD(3)),
    issued_at  DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(issued_at)
PARTITION BY toYYYYMM(ts)
ORDER BY (model, slo, scope, incident, ts, page_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- Events that could not be read. `raw` is the beginning of the event; `at` is when its batch was read.
CREATE TABLE IF NOT EXISTS interlock.dead_letters
(
    at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    source  LowCardinality(String),
    topic   LowCardinality(String),
    offset  Int64,
    `index` Int64,
    reason  LowCardinality(String),
    detail  String               CODEC(ZSTD(3)),
    raw     String               CODEC(ZSTD(3)),
    size    Int64,
    digest  String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (topic, source, offset, `index`, digest)
SETTINGS non_replicated_deduplication_window = 10000;

-- Events behind engagements, as they were sent: personal data, perhaps. Grant SELECT on it apart; it forgets a row at
-- `expires_at`. A row that was frozen is never replaced by one that could not be frozen any more.
CREATE TABLE IF NOT EXISTS interlock.evidence
(
    ts         DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    control_id String,
    event_id   String,
    model      LowCardinality(String),
    slo        LowCardinality(String),
    scope      LowCardinality(String),
    reason     String               CODEC(ZSTD(3)),
    event_ts   DateTime64(3, 'UTC'),
    state      LowCardinality(String),
    payload    String               CODEC(ZSTD(3)),
    partition  Int64,
    offset     Int64,
    `index`    Int64,
    frozen_at  DateTime64(3, 'UTC'),
    expires_at DateTime64(3, 'UTC'),
    is_frozen  UInt8 MATERIALIZED state = 'frozen'
)
ENGINE = ReplacingMergeTree(is_frozen)
PARTITION BY toYYYYMM(ts)
ORDER BY (model, slo, scope, control_id, event_id)
TTL toDateTime(expires_at, 'UTC')
SETTINGS non_replicated_deduplication_window = 10000;

-- How does every SLO stand? The latest verdict of each, per scope.
CREATE OR REPLACE VIEW interlock.v_slo_now AS
SELECT model, slo, scope, state, value, lower, upper, n, label_coverage, target, ts, window_start, window_end, verdict_id
FROM interlock.verdicts FINAL
ORDER BY model, slo, scope, ts DESC, verdict_id DESC
LIMIT 1 BY model, slo, scope;

-- What was done, from when to when, and why? One row per engagement; `released_at` is null while it is in force.
CREATE OR REPLACE VIEW interlock.v_incidents AS
SELECT
    model,
    slo,
    scope,
    action,
    epoch,
    control_id,
    argMax(mode, (controls.ts, controls.state = 'engaged')) AS mode,
    minOrNullIf(controls.ts, controls.state = 'engaged') AS engaged_at,
    if(argMax(controls.state, (controls.ts, controls.state = 'released')) = 'released', max(controls.ts), NULL) AS released_at,
    dateDiff('second', engaged_at, released_at) AS seconds,
    argMinIf(cause, controls.ts, controls.state = 'engaged') AS cause,
    argMinIf(verdict_id, controls.ts, controls.state = 'engaged') AS verdict_id
FROM interlock.controls FINAL
GROUP BY model, slo, scope, action, epoch, control_id;

-- Who was woken, when, and for how long? One row per incident; `resolved_at` is null while it is open. A page that was
-- published again, by a judge that started again, is the same page.
CREATE OR REPLACE VIEW interlock.v_pages AS
SELECT
    incident,
    model,
    slo,
    scope,
    argMinIf(pages.severity, pages.ts, pages.action != 'resolve') AS severity,
    minOrNullIf(pages.ts, pages.action != 'resolve') AS opened_at,
    minOrNullIf(pages.ts, pages.action = 'resolve') AS resolved_at,
    dateDiff('second', opened_at, resolved_at) AS seconds,
    uniqExactIf(page_id, pages.action = 'update') AS updates,
    argMinIf(pages.summary, pages.ts, pages.action != 'resolve') AS summary
FROM interlock.pages FINAL
GROUP BY incident, model, slo, scope;

-- How much came in? Events, flagged events and labels per day and slice, by arrival. A filtered series is left out.
CREATE OR REPLACE VIEW interlock.v_daily AS
SELECT
    toDate(pane_start) AS day,
    model,
    model_version,
    slice,
    sumIf(count, kind = 'events' AND cell = 0) AS events,
    sumIf(count, kind = 'events' AND cell = 1) AS late,
    sumIf(count, kind = 'ood' AND cell = 0) AS scored,
    sumIf(count, kind = 'ood' AND cell = 1) AS flagged,
    sumIf(count, kind = 'events' AND cell = 10) AS labels
FROM (SELECT *, splitByChar(' ', series)[1] AS kind FROM interlock.tallies FINAL WHERE position(series, ' where ') = 0)
GROUP BY day, model, model_version, slice;

-- Does a score of .8 come true in 80 % of cases? The reliability of each micro-bin of the ECE, over all that was kept.
CREATE OR REPLACE VIEW interlock.v_calibration AS
SELECT
    model,
    model_version,
    series,
    slice,
    intDiv(cell, 3) AS bin,
    sumIf(count, cell % 3 = 0) AS n,
    sumIf(count, cell % 3 = 1) / 4294967296 / nullIf(n, 0) AS mean_score,
    sumIf(count, cell % 3 = 2) / nullIf(n, 0) AS observed,
    observed - mean_score AS gap
FROM interlock.tallies FINAL
WHERE chain = 'joined' AND splitByChar(' ', series)[1] = 'ece' AND cell < 1000
GROUP BY model, model_version, series, slice, bin;
