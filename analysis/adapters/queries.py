"""The SQL of an experiment: from one row per listener to a few numbers per arm and metric."""

# `{listeners}` is one of the sources of listeners.py, whose arguments are $1 to $3.
# Listeners that were seen under two treatments stay, to be counted: their treatment is null.
ARMS = """
SELECT CASE WHEN NOT is_conflict THEN treatment END AS treatment,
       count(*) AS n_users, sum(n_sessions)::bigint AS n_sessions,
       sum(n_finished)::bigint AS n_finished, sum(n_tracks)::bigint AS n_events,
       min(first_at) AS first_at, max(last_at) AS last_at
FROM {listeners} AS listener
GROUP BY 1
"""

# A metric of one listener, and the same before the exposure. A listener without history gets the
# mean of those who have one, and so explains nothing; a sum without history is 0.
_MEANS = {
    "time": ("listener.time", "coalesce(past_time, 0)"),
    "sessions": ("n_sessions", "coalesce(past_sessions, 0)"),
    "mean_request_latency": (
        "1000 * listener.latency / nullif(n_requests, 0)",
        "1000 * coalesce(past_latency / nullif(past_requests, 0), typical.latency)",
    ),
    "mean_tracks_per_session": (
        "n_tracks / n_sessions",
        "coalesce(past_tracks / past_sessions, typical.tracks)",
    ),
    "mean_time_per_session": (
        "listener.time / n_sessions",
        "coalesce(past_time / past_sessions, typical.time)",
    ),
    "completed_plays": ("n_completed", "coalesce(past_completed, 0)"),
    # Whoever's days of grace are not over cannot be counted as lost. $4 is how many these are.
    "retention": (
        """CASE WHEN first_day + $4::integer < latest.day
           THEN coalesce(next_day <= first_day + $4::integer, false)::integer::float8 END""",
        "coalesce(past_sessions, 0)",
    ),
    "artists_per_session": (
        "n_artists / n_sessions",
        "coalesce(past_artists / past_sessions, typical.artists)",
    ),
}
_RATIOS = {
    "skip_rate": (
        "n_skipped",
        "n_recommended",
        "coalesce(past_skipped / nullif(past_recommended, 0), typical.skips)",
    ),
    "repeat_share": (
        "n_repeats",
        "n_tracks",
        "coalesce(past_repeats / past_tracks, typical.repeats)",
    ),
    "fallback_share": (
        "n_fallbacks",
        "n_requests",
        "coalesce(past_fallbacks / nullif(past_requests, 0), typical.fallbacks)",
    ),
}
METRIC_NAMES = (*_MEANS, *_RATIOS)
_COLUMNS = ",\n           ".join(
    [f'{y} AS "{name}", {x} AS "{name} before"' for name, (y, x) in _MEANS.items()]
    + [
        f'{y} AS "{name}", {by} AS "{name} by", {x} AS "{name} before"'
        for name, (y, by, x) in _RATIOS.items()
    ]
)

_VALUES = f"""
WITH listener AS (
    SELECT * FROM {{listeners}} AS everybody WHERE NOT is_conflict
),
typical AS (
    SELECT avg(past_latency / nullif(past_requests, 0)) AS latency,
           avg(past_tracks / past_sessions) AS tracks, avg(past_time / past_sessions) AS time,
           avg(past_artists / past_sessions) AS artists,
           avg(past_skipped / nullif(past_recommended, 0)) AS skips,
           avg(past_repeats / past_tracks) AS repeats,
           avg(past_fallbacks / nullif(past_requests, 0)) AS fallbacks
    FROM listener
),
latest AS (
    SELECT (max(last_at) AT TIME ZONE 'UTC')::date AS day FROM listener
),
value AS (
    SELECT treatment, {_COLUMNS}
    FROM listener CROSS JOIN typical CROSS JOIN latest
)
"""  # noqa: S608 - our own text


def _moments_of_mean(name: str) -> str:
    """Return the SQL of RatioMoments, in the order of its fields, of a metric that is a mean."""
    # All regr_ and covar_ functions of the same two columns share one state: they cost as much as
    # one. History is known of everybody, by `typical`, or of nobody.
    y, known = f'"{name}"', f'count("{name} before") > 0'
    pair = f'{y}, coalesce("{name} before", 0)'
    n = f"nullif(regr_count({pair}) - 1, 0)"
    return f"""ARRAY[
        regr_count({pair}), regr_avgy({pair}), 1, regr_syy({pair}) / {n}, 0, 0,
        CASE WHEN {known} THEN regr_avgx({pair}) END,
        CASE WHEN {known} THEN regr_sxx({pair}) / {n} END,
        CASE WHEN {known} THEN covar_samp({pair}) END, 0
    ] AS {y}"""


def _moments_of_ratio(name: str) -> str:
    """Return the SQL of RatioMoments of a metric that is a ratio of sums."""
    y, by, x = f'"{name}"', f'"{name} by"', f'"{name} before"'
    n = f"nullif(regr_count({y}, {by}) - 1, 0)"
    return f"""ARRAY[
        regr_count({y}, {by}), regr_avgy({y}, {by}), regr_avgx({y}, {by}),
        regr_syy({y}, {by}) / {n}, regr_sxx({y}, {by}) / {n}, covar_samp({y}, {by}),
        regr_avgx({y}, {x}), regr_sxx({y}, {x}) / {n}, covar_samp({y}, {x}), covar_samp({by}, {x})
    ] AS {y}"""


_MOMENTS = ",\n       ".join([*map(_moments_of_mean, _MEANS), *map(_moments_of_ratio, _RATIOS)])

# One row per treatment, one column per metric.
METRICS = f"{_VALUES} SELECT treatment, {_MOMENTS} FROM value GROUP BY treatment"  # noqa: S608 - our own text

# $5 a treatment: every value of its listeners, for what must draw from them.
_ARRAYS = ", ".join(
    [f'array_agg("{name}") AS "{name}"' for name in METRIC_NAMES]
    + [f'NULL AS "{name} by"' for name in _MEANS]
    + [f'array_agg("{name} by") AS "{name} by"' for name in _RATIOS]
)
USER_VALUES = f"{_VALUES} SELECT {_ARRAYS} FROM value WHERE treatment = $5"  # noqa: S608 - our own text

# A quantile of all requests of an arm, whose requests come in clusters, the users: the variance of
# the share below it by the delta method, carried over by the quantiles at that share plus and minus
# one standard error. Deng, Knoblich & Lu (2018), section 4.2.
# $4 requests, about: beyond that, those of users drawn by a hash, which are as good as any. Their
# events are looked up by the index, one user at a time: OFFSET keeps Postgres from joining all.
QUANTILES = """
WITH listener AS (
    SELECT user_id, treatment, first_at, last_at, n_requests, sum(n_requests) OVER () AS n_total
    FROM {listeners} AS everybody
    WHERE NOT is_conflict
),
request AS MATERIALIZED (
    SELECT listener.user_id, listener.treatment, 1000 * event.latency AS ms
    FROM listener CROSS JOIN LATERAL (
        SELECT latency
        FROM events
        WHERE events.user_id = listener.user_id
          AND events.occurred_at BETWEEN listener.first_at AND listener.last_at
          AND events.message = 'next' AND events.experiments ? $1
        OFFSET 0
    ) AS event
    WHERE n_total <= $4::float8
       OR abs(hashint4(listener.user_id)::bigint) < $4::float8 / n_total * 2147483648
),
quantile AS (
    SELECT treatment, percentile_cont('{{0.5, 0.99}}'::float8[]) WITHIN GROUP (ORDER BY ms) AS ms
    FROM request
    GROUP BY treatment
),
below AS (
    SELECT treatment, user_id, count(*)::float8 AS n_requests,
           count(*) FILTER (WHERE request.ms <= quantile.ms[1])::float8 AS n_below_p50,
           count(*) FILTER (WHERE request.ms <= quantile.ms[2])::float8 AS n_below_p99
    FROM request JOIN quantile USING (treatment)
    GROUP BY treatment, user_id
),
arm AS (
    SELECT treatment, count(*) AS n_users,
           sqrt(greatest(
               var_samp(n_below_p50) - 2 * 0.5 * covar_samp(n_below_p50, n_requests)
                   + 0.5 ^ 2 * var_samp(n_requests), 0
           ) / count(*)) / avg(n_requests) AS error_p50,
           sqrt(greatest(
               var_samp(n_below_p99) - 2 * 0.99 * covar_samp(n_below_p99, n_requests)
                   + 0.99 ^ 2 * var_samp(n_requests), 0
           ) / count(*)) / avg(n_requests) AS error_p99
    FROM below
    GROUP BY treatment
),
bounds AS (
    SELECT treatment, percentile_cont(ARRAY[
               0.5 - error_p50, 0.5 + error_p50, 0.99 - error_p99, least(0.99 + error_p99, 1)
           ]) WITHIN GROUP (ORDER BY ms) AS ms
    FROM request JOIN arm USING (treatment)
    GROUP BY treatment, error_p50, error_p99
)
SELECT treatment, metric.name AS metric, n_users, metric.ms AS mean,
       n_users * (metric.upper - metric.lower) ^ 2 / 4 AS variance
FROM arm JOIN quantile USING (treatment) JOIN bounds USING (treatment)
CROSS JOIN LATERAL (VALUES
    ('latency_p50', quantile.ms[1], bounds.ms[1], bounds.ms[2]),
    ('latency_p99', quantile.ms[2], bounds.ms[3],
     CASE WHEN 0.99 + error_p99 < 1 THEN bounds.ms[4] END)
) AS metric (name, ms, lower, upper)
"""

USERS_PER_ARM = """
SELECT experiment, treatment, count(*) AS n_users
FROM experiment_listeners
WHERE NOT is_conflict
GROUP BY experiment, treatment
ORDER BY experiment
"""
