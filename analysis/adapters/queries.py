"""The SQL of an experiment: from days of listening to a few numbers per arm and metric."""

# $1 experiment, $2 since, $3 until; a user counts with what it did from the first exposure on.
# Users seen under two treatments stay, with is_conflict, to be counted.
#
# Within bounds the days come from the events; without, from the table that keeps their sums.
STORED_DAYS = "(SELECT * FROM listening_days WHERE $2::timestamptz <= $3::timestamptz)"
DAYS_BETWEEN = "listening_days_between($2, $3)"
_USERS = """
WITH days AS MATERIALIZED (
    SELECT *, experiments ->> $1 AS treatment FROM {days}
),
exposed AS (
    SELECT user_id, min(treatment) AS treatment, min(treatment) < max(treatment) AS is_conflict,
           min(first_at) AS first_at, max(last_at) AS last_at, min(day) AS first_day,
           sum(n_sessions)::float8 AS n_sessions, sum(n_finished)::float8 AS n_finished,
           sum(n_tracks)::float8 AS n_tracks, sum(n_recommended)::float8 AS n_recommended,
           sum(time) AS time, sum(n_skipped)::float8 AS n_skipped,
           sum(n_completed)::float8 AS n_completed, sum(n_repeats)::float8 AS n_repeats,
           sum(n_requests)::float8 AS n_requests, sum(n_fallbacks)::float8 AS n_fallbacks,
           sum(latency) AS latency, sum(n_artists)::float8 AS n_artists
    FROM days
    WHERE treatment IS NOT NULL
    GROUP BY user_id
)
"""

ARMS = (
    _USERS
    + """
SELECT CASE WHEN NOT is_conflict THEN treatment END AS treatment,
       count(*) AS n_users, sum(n_sessions)::bigint AS n_sessions,
       sum(n_finished)::bigint AS n_finished, sum(n_tracks)::bigint AS n_events,
       min(first_at) AS first_at, max(last_at) AS last_at
FROM exposed
GROUP BY 1
"""
)

# $4 days within which a user must come back, $5 days of history before the exposure.
#
# The covariate of a metric is the same metric before the exposure. A user without history gets the
# mean of those who have one, and so explains nothing; a sum without history is 0. Users whose days
# of grace are not over cannot be counted as lost: they have no retention yet.
_VALUES = (
    _USERS  # noqa: S608 - our own text
    + """,
listener AS (SELECT * FROM exposed WHERE NOT is_conflict),
latest AS (SELECT max(day) AS day FROM days),
came_back AS (
    SELECT DISTINCT days.user_id
    FROM days JOIN listener USING (user_id)
    WHERE days.treatment IS NOT NULL
      AND days.day > listener.first_day AND days.day <= listener.first_day + $4::integer
),
history AS (
    SELECT days.user_id,
           sum(days.time) AS time, sum(days.n_sessions)::float8 AS n_sessions,
           sum(days.n_tracks)::float8 AS n_tracks,
           nullif(sum(days.n_recommended), 0)::float8 AS n_recommended,
           sum(days.n_completed)::float8 AS n_completed,
           sum(days.n_skipped)::float8 AS n_skipped, sum(days.n_repeats)::float8 AS n_repeats,
           nullif(sum(days.n_requests), 0)::float8 AS n_requests,
           sum(days.n_fallbacks)::float8 AS n_fallbacks, sum(days.latency) AS latency,
           sum(days.n_artists)::float8 AS n_artists
    FROM days JOIN listener USING (user_id)
    WHERE days.treatment IS NULL AND days.last_at < listener.first_at
      AND days.day >= listener.first_day - $5::integer
    GROUP BY days.user_id
),
typical AS (
    SELECT avg(latency / n_requests) AS latency, avg(n_tracks / n_sessions) AS n_tracks,
           avg(time / n_sessions) AS time, avg(n_artists / n_sessions) AS n_artists,
           avg(n_skipped / n_recommended) AS skip_rate, avg(n_repeats / n_tracks) AS repeats,
           avg(n_fallbacks / n_requests) AS fallbacks
    FROM history
),
value AS (
    SELECT now.treatment, metric.name AS metric, metric.numerator, metric.denominator,
           metric.covariate
    FROM listener AS now
    LEFT JOIN history AS past USING (user_id)
    LEFT JOIN came_back USING (user_id)
    CROSS JOIN typical
    CROSS JOIN latest
    CROSS JOIN LATERAL (VALUES
        ('time', now.time, 1.0::float8, coalesce(past.time, 0)),
        ('sessions', now.n_sessions, 1, coalesce(past.n_sessions, 0)),
        ('mean_request_latency', 1000 * now.latency / nullif(now.n_requests, 0), 1,
         1000 * coalesce(past.latency / past.n_requests, typical.latency)),
        ('mean_tracks_per_session', now.n_tracks / now.n_sessions, 1,
         coalesce(past.n_tracks / past.n_sessions, typical.n_tracks)),
        ('mean_time_per_session', now.time / now.n_sessions, 1,
         coalesce(past.time / past.n_sessions, typical.time)),
        ('completed_plays', now.n_completed, 1, coalesce(past.n_completed, 0)),
        ('retention',
         CASE WHEN now.first_day + $4::integer < latest.day
              THEN (came_back.user_id IS NOT NULL)::integer::float8 END,
         1, coalesce(past.n_sessions, 0)),
        ('artists_per_session', now.n_artists / now.n_sessions, 1,
         coalesce(past.n_artists / past.n_sessions, typical.n_artists)),
        ('skip_rate', now.n_skipped, now.n_recommended,
         coalesce(past.n_skipped / past.n_recommended, typical.skip_rate)),
        ('repeat_share', now.n_repeats, now.n_tracks,
         coalesce(past.n_repeats / past.n_tracks, typical.repeats)),
        ('fallback_share', now.n_fallbacks, now.n_requests,
         coalesce(past.n_fallbacks / past.n_requests, typical.fallbacks))
    ) AS metric (name, numerator, denominator, covariate)
    WHERE metric.numerator IS NOT NULL
)
"""
)

METRICS = (
    _VALUES
    + """
SELECT treatment, metric, count(*) AS n_users,
       avg(numerator) AS numerator_mean, avg(denominator) AS denominator_mean,
       var_samp(numerator) AS numerator_variance, var_samp(denominator) AS denominator_variance,
       covar_samp(numerator, denominator) AS numerator_denominator,
       avg(covariate) AS covariate_mean, var_samp(covariate) AS covariate_variance,
       covar_samp(numerator, covariate) AS numerator_covariate,
       covar_samp(denominator, covariate) AS denominator_covariate
FROM value
GROUP BY treatment, metric
"""
)

# $6 a treatment: every value of its users, for what must draw from them.
USER_VALUES = (
    _VALUES
    + """
SELECT metric, array_agg(numerator) AS numerators, array_agg(denominator) AS denominators
FROM value
WHERE treatment = $6
GROUP BY metric
"""
)

# A quantile of all requests of an arm, whose requests come in clusters, the users: the variance of
# the share below it by the delta method, carried over by the quantiles at that share plus and minus
# one standard error. Deng, Knoblich & Lu (2018), section 4.2.
# $4 requests, about: beyond that, those of users drawn by a hash, which are as good as any.
QUANTILES = (
    _USERS  # noqa: S608 - our own text
    + """,
total AS (SELECT sum(n_requests) AS n_requests FROM exposed),
listener AS (
    SELECT user_id, treatment
    FROM exposed CROSS JOIN total
    WHERE NOT is_conflict
      AND (total.n_requests <= $4::float8
           OR abs(hashint4(user_id)::bigint) < $4::float8 / total.n_requests * 2147483648)
),
request AS MATERIALIZED (
    SELECT listener.user_id, listener.treatment, 1000 * events.latency AS ms
    FROM events JOIN listener USING (user_id)
    WHERE events.message = 'next' AND events.experiments ? $1
      AND events.occurred_at >= $2 AND events.occurred_at < $3
),
quantile AS (
    SELECT treatment, metric.name, metric.share,
           percentile_cont(metric.share) WITHIN GROUP (ORDER BY ms) AS ms
    FROM request CROSS JOIN (VALUES ('latency_p50', 0.5::float8), ('latency_p99', 0.99))
         AS metric (name, share)
    GROUP BY treatment, metric.name, metric.share
),
below AS (
    SELECT treatment, quantile.name, quantile.share, quantile.ms, request.user_id,
           count(*) FILTER (WHERE request.ms <= quantile.ms)::float8 AS n_below,
           count(*)::float8 AS n_requests
    FROM request JOIN quantile USING (treatment)
    GROUP BY treatment, quantile.name, quantile.share, quantile.ms, request.user_id
),
arm AS (
    SELECT treatment, name, share, ms, count(*) AS n_users,
           sqrt(greatest(
               var_samp(n_below) - 2 * share * covar_samp(n_below, n_requests)
                   + share ^ 2 * var_samp(n_requests), 0
           ) / count(*)) / avg(n_requests) AS error
    FROM below
    GROUP BY treatment, name, share, ms
)
SELECT arm.treatment, arm.name AS metric, arm.n_users, arm.ms AS mean,
       CASE WHEN arm.share + arm.error < 1 THEN arm.n_users * (
           SELECT (bounds.ms[2] - bounds.ms[1]) ^ 2 / 4
           FROM (
               SELECT percentile_cont(ARRAY[arm.share - arm.error, arm.share + arm.error])
                          WITHIN GROUP (ORDER BY request.ms) AS ms
               FROM request
               WHERE request.treatment = arm.treatment
           ) AS bounds
       ) END AS variance
FROM arm
"""
)

USERS_PER_ARM = """
SELECT experiment, treatment, count(*) AS n_users
FROM experiment_users
GROUP BY experiment, treatment
ORDER BY experiment
"""
