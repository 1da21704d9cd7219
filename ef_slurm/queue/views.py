"""Read-only views for people: an administrator's questions, answered with `sqlite-utils query`.

`docs/queue.md` describes them, column by column. Times are text, UTC; durations are hours. A view
that differs from what stands here is made anew whenever the queue is opened for writing.
"""

from __future__ import annotations

from collections.abc import Mapping

_ACTIVE_JOBS = """
SELECT
    slurm_job_id, name, owner, account, kind, state,
    coalesce(json_extract(running, '$.block.gpus_per_node')
        * json_array_length(running, '$.block.nodes'), 0) AS gpus,
    round(100.0 * iteration / iterations, 1) AS percent,
    datetime(submitted, 'unixepoch') AS submitted,
    datetime(deadline, 'unixepoch') AS deadline,
    CASE WHEN state <> 'held' THEN datetime(finish, 'unixepoch') END AS predicted_finish,
    CASE WHEN state <> 'held' THEN round((deadline - finish) / 3600, 2) END AS slack_hours,
    promise, reshapes, note
FROM jobs
WHERE state NOT IN ('rejected', 'completed', 'failed', 'cancelled', 'lost')
ORDER BY slurm_job_id
"""

_PROMISE_REPORT = """
SELECT
    jobs.slurm_job_id, jobs.name, jobs.owner, jobs.account,
    datetime(promises.given_at, 'unixepoch') AS given,
    datetime(promises.deadline, 'unixepoch') AS deadline,
    datetime(promises.finish, 'unixepoch') AS predicted_finish,
    datetime(jobs.ended_at, 'unixepoch') AS ended,
    promises.share AS gpus, promises.outcome, promises.fault,
    round((promises.deadline - jobs.ended_at) / 3600, 2) AS early_hours,
    round((jobs.ended_at - promises.finish) / 3600, 2) AS later_than_predicted_hours
FROM promises JOIN jobs ON jobs.id = promises.job_id
ORDER BY promises.id
"""

_PROMISE_RECORD = """
SELECT
    account,
    count(*) AS given,
    sum(outcome = 'open') AS still_open,
    sum(outcome = 'kept') AS kept,
    sum(outcome = 'kept-in-grace') AS kept_in_grace,
    sum(outcome = 'broken') AS broken,
    sum(outcome = 'void') AS void,
    sum(outcome = 'replaced') AS replaced,
    round(100.0 * sum(outcome IN ('kept', 'kept-in-grace'))
        / nullif(sum(outcome IN ('kept', 'kept-in-grace', 'broken')), 0), 1) AS kept_percent,
    round(avg(early_hours) FILTER (WHERE outcome = 'kept'), 2) AS mean_early_hours,
    round(avg(abs(later_than_predicted_hours)) FILTER (WHERE outcome IN
        ('kept', 'kept-in-grace', 'broken')), 2) AS mean_prediction_error_hours
FROM promise_report
GROUP BY account
ORDER BY account
"""

# A share lasts until the next one, or until a state in which the job holds nothing.
_SHARE_HISTORY = """
WITH changes AS (
    SELECT id, job_id, at, json_extract(data, '$.to') AS gpus,
        json_extract(data, '$.nodes') AS nodes
    FROM events WHERE kind = 'share' AND job_id IS NOT NULL
    UNION ALL
    SELECT id, job_id, at, 0, '' FROM events
    WHERE kind = 'state' AND json_extract(data, '$.to') IN
        ('admitted', 'paused', 'held',
        'rejected', 'completed', 'failed', 'cancelled', 'lost')
),
spans AS (
    SELECT job_id, gpus, nodes, at AS since,
        lead(at, 1, strftime('%s', 'now') + 0.0) OVER (PARTITION BY job_id ORDER BY id) AS until
    FROM changes
)
SELECT
    jobs.slurm_job_id, jobs.name, jobs.owner, jobs.account, spans.gpus, spans.nodes,
    strftime('%Y-%m-%d %H:%M:%f', spans.since, 'unixepoch') AS since,
    strftime('%Y-%m-%d %H:%M:%f', spans.until, 'unixepoch') AS until,
    round(spans.gpus * (spans.until - spans.since) / 3600, 4) AS gpu_hours
FROM spans JOIN jobs ON jobs.id = spans.job_id
WHERE spans.gpus > 0 AND spans.until > spans.since
ORDER BY spans.since, jobs.slurm_job_id
"""

# A share counts for each of the days that it touches. Julian days begin at noon.
_DAY_SUMMARY = """
WITH RECURSIVE pieces (gpus, since, until) AS (
    SELECT gpus, julianday(since), julianday(until) FROM share_history
    UNION ALL
    SELECT gpus, CAST(since + 0.5 AS INTEGER) + 0.5, until FROM pieces
    WHERE CAST(since + 0.5 AS INTEGER) + 0.5 < until
),
happened (day, what, amount) AS (
    SELECT date(since), 'gpu_hours',
        24 * gpus * (min(until, CAST(since + 0.5 AS INTEGER) + 0.5) - since) FROM pieces
    UNION ALL SELECT date(submitted, 'unixepoch'), 'submitted', 1 FROM jobs
    UNION ALL SELECT date(ended_at, 'unixepoch'), state, 1 FROM jobs WHERE ended_at IS NOT NULL
    UNION ALL SELECT date(given_at, 'unixepoch'), 'promised', 1 FROM promises
    UNION ALL SELECT date(settled_at, 'unixepoch'), outcome, 1 FROM promises
        WHERE settled_at IS NOT NULL
)
SELECT
    day,
    CAST(total(amount) FILTER (WHERE what = 'submitted') AS INTEGER) AS submitted,
    CAST(total(amount) FILTER (WHERE what = 'promised') AS INTEGER) AS promised,
    CAST(total(amount) FILTER (WHERE what = 'rejected') AS INTEGER) AS rejected,
    CAST(total(amount) FILTER (WHERE what = 'completed') AS INTEGER) AS completed,
    CAST(total(amount) FILTER (WHERE what IN ('failed', 'lost')) AS INTEGER) AS failed,
    CAST(total(amount) FILTER (WHERE what = 'cancelled') AS INTEGER) AS cancelled,
    CAST(total(amount) FILTER (WHERE what IN ('kept', 'kept-in-grace')) AS INTEGER) AS kept,
    CAST(total(amount) FILTER (WHERE what = 'broken') AS INTEGER) AS broken,
    CAST(total(amount) FILTER (WHERE what = 'void') AS INTEGER) AS void,
    round(total(amount) FILTER (WHERE what = 'gpu_hours'), 2) AS gpu_hours
FROM happened
GROUP BY day
ORDER BY day
"""

_NOTICE_RECORD = """
SELECT
    jobs.slurm_job_id, jobs.owner, notices.kind, datetime(notices.at, 'unixepoch') AS at,
    notices.state, notices.tries, notices.message, notices.error
FROM notices JOIN jobs ON jobs.id = notices.job_id
ORDER BY notices.id
"""

VIEWS: Mapping[str, str] = {
    name: sql.strip()
    for name, sql in (
        ("active_jobs", _ACTIVE_JOBS),
        ("promise_report", _PROMISE_REPORT),
        ("promise_record", _PROMISE_RECORD),
        ("share_history", _SHARE_HISTORY),
        ("day_summary", _DAY_SUMMARY),
        ("notice_record", _NOTICE_RECORD),
    )
}
"""Name → SELECT, each after those that it reads."""
