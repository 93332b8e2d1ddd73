-- All that a SQLite ledger does. Each section is a statement; "schema" has several, one a paragraph.
--
-- There is a row for each task, and the totals of what the rows say, kept up by triggers: reading
-- them must not take longer the more tasks there are. A task is counted for a period of five
-- minutes and for an hour (width.seconds).
--
-- task.state: NULL, never claimed; 'pending', claimed by the run in owner (NULL: by none);
-- 'finished'. A batch of events is one JSON text (:events): beside a busy crawl a thread
-- has to wait for the interpreter after each statement. An event is its name and its members, those
-- of a submission (id, attempt, site, spider, type, age, at) among them. A statement is executed
-- only if the batch has an event that it names.

-- name: schema
CREATE TABLE task (
    id INTEGER PRIMARY KEY, first_attempt INTEGER, keep_until REAL NOT NULL,
    attempt INTEGER, site TEXT, spider TEXT, type TEXT, age INTEGER, at REAL,
    rule TEXT, status TEXT, code TEXT,
    state TEXT, owner TEXT, kind TEXT, solved_at REAL, expires_at REAL
)

CREATE INDEX task_pending ON task (owner) WHERE state = 'pending'

CREATE INDEX task_keep_until ON task (keep_until)

CREATE TABLE width (seconds INTEGER)

INSERT INTO width VALUES (300), (3600)

CREATE TABLE total (
    seconds INTEGER, start INTEGER, site TEXT, spider TEXT, type TEXT, age INTEGER, rule TEXT,
    status TEXT, code TEXT, tasks INTEGER NOT NULL,
    PRIMARY KEY (seconds, start, site, spider, type, age, rule, status, code)
) WITHOUT ROWID

CREATE TRIGGER task_inserted AFTER INSERT ON task WHEN new.status IS NOT NULL BEGIN
    INSERT INTO total SELECT seconds, CAST(new.at / seconds AS INTEGER) * seconds, new.site,
        new.spider, new.type, new.age, new.rule, new.status, new.code, 1 FROM width WHERE true
    ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END

CREATE TRIGGER task_uncounted AFTER UPDATE OF status, code ON task WHEN old.status IS NOT NULL BEGIN
    INSERT INTO total SELECT seconds, CAST(old.at / seconds AS INTEGER) * seconds, old.site,
        old.spider, old.type, old.age, old.rule, old.status, old.code, -1 FROM width WHERE true
    ON CONFLICT DO UPDATE SET tasks = tasks - 1;
END

CREATE TRIGGER task_counted AFTER UPDATE OF status, code ON task WHEN new.status IS NOT NULL BEGIN
    INSERT INTO total SELECT seconds, CAST(new.at / seconds AS INTEGER) * seconds, new.site,
        new.spider, new.type, new.age, new.rule, new.status, new.code, 1 FROM width WHERE true
    ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END

CREATE TABLE alert (at REAL, site TEXT, before REAL, after REAL, answers INTEGER)

-- name: not_sent
UPDATE task SET first_attempt = NULL WHERE (id, first_attempt) IN (
    SELECT json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:events)
    WHERE json_extract(value, '$[0]') = 'NotSent'
)

-- name: sent
WITH event AS (
    SELECT json_extract(value, '$[0]') AS name, json_extract(value, '$[1]') AS id,
        json_extract(value, '$[2]') AS attempt,
        coalesce(json_extract(value, '$[7]'), json_extract(value, '$[3]')) AS at,
        json_extract(value, '$[9]') AS status
    FROM json_each(:events)
)
INSERT INTO task (id, first_attempt, keep_until)
SELECT id, attempt, at + :keep_sent FROM event
WHERE (name IN ('Sent', 'Claimed') OR (name = 'Judged' AND status = 'passed'))
AND (id, attempt) NOT IN (SELECT id, attempt FROM event WHERE name = 'NotSent')
ON CONFLICT DO UPDATE SET first_attempt = coalesce(first_attempt, excluded.first_attempt),
    keep_until = max(keep_until, excluded.keep_until)

-- name: forbidden
SELECT key, outcome FROM (
    SELECT key, CASE
        WHEN state = 'pending' AND owner = :run AND attempt = claimed THEN NULL
        WHEN state IS NOT NULL OR first_claimed <> claimed THEN 'withheld/duplicate'
        WHEN first_attempt <> claimed AND NOT :report_reused THEN 'withheld/reused'
    END AS outcome
    FROM (
        SELECT key, json_extract(value, '$[1]') AS id, json_extract(value, '$[2]') AS claimed,
            first_value(json_extract(value, '$[2]')) OVER (
                PARTITION BY json_extract(value, '$[1]') ORDER BY key
            ) AS first_claimed
        FROM json_each(:events) WHERE json_extract(value, '$[0]') = 'Claimed'
    ) LEFT JOIN task USING (id)
) WHERE outcome IS NOT NULL

-- name: verdicts
-- The first verdict on a task is final, except that reject() may overrule "passed" of the same
-- attempt, and that a claim may follow on a report that was withheld.
WITH event AS (
    SELECT json_extract(value, '$[0]') AS name, json_extract(value, '$[1]') AS id,
        json_extract(value, '$[2]') AS attempt, json_extract(value, '$[3]') AS site,
        json_extract(value, '$[4]') AS spider, json_extract(value, '$[5]') AS type,
        json_extract(value, '$[6]') AS age, json_extract(value, '$[7]') AS at,
        json_extract(value, '$[8]') AS rule,
        json_extract(value, '$[9]') AS status_or_kind,
        json_extract(value, '$[10]') AS solved_at, json_extract(value, '$[11]') AS expires_at
    FROM json_each(:events)
)
INSERT INTO task (
    id, attempt, site, spider, type, age, at, rule, status, keep_until, state, kind, solved_at,
    expires_at, code, owner
)
SELECT id, attempt, site, spider, type, age, at, rule,
    CASE name WHEN 'Judged' THEN status_or_kind ELSE 'pending' END,
    at + CASE status_or_kind WHEN 'passed' THEN :keep_sent ELSE :keep_rejected END,
    CASE name WHEN 'Claimed' THEN 'pending' END,
    CASE name WHEN 'Claimed' THEN status_or_kind END,
    solved_at, expires_at, '', :run
FROM event WHERE name IN ('Judged', 'Claimed')
ON CONFLICT DO UPDATE SET attempt = excluded.attempt, site = excluded.site,
    spider = excluded.spider, type = excluded.type, age = excluded.age, at = excluded.at,
    rule = excluded.rule, status = excluded.status, keep_until = excluded.keep_until,
    state = excluded.state, kind = excluded.kind, solved_at = excluded.solved_at,
    expires_at = excluded.expires_at, code = excluded.code, owner = excluded.owner
WHERE excluded.state IS NOT NULL OR status IS NULL OR (
    status = 'passed' AND excluded.status <> 'passed' AND attempt = excluded.attempt
)

-- name: finished
-- CROSS JOIN: else SQLite may search all events for each pending task.
INSERT INTO task (id, state, status, code, keep_until)
SELECT id, CASE outcome WHEN 'kept' THEN state ELSE 'finished' END,
    CASE outcome WHEN 'kept' THEN status ELSE outcome END, event.code, finished_at + :keep_rejected
FROM (
    SELECT json_extract(value, '$[1]') AS id, json_extract(value, '$[2]') AS outcome,
        json_extract(value, '$[3]') AS code, json_extract(value, '$[4]') AS finished_at
    FROM json_each(:events) WHERE json_extract(value, '$[0]') = 'Finished'
) AS event CROSS JOIN task USING (id) WHERE state = 'pending' AND owner = :run
ON CONFLICT DO UPDATE SET state = excluded.state, owner = NULL, status = excluded.status,
    code = excluded.code, keep_until = excluded.keep_until

-- name: alerts
INSERT INTO alert SELECT json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
FROM json_each(:events) WHERE json_extract(value, '$[0]') = 'Alert'

-- name: owners
SELECT DISTINCT owner FROM task WHERE state = 'pending'

-- name: left
SELECT id, attempt, site, spider, type, age, at, rule, kind, solved_at, expires_at
FROM task WHERE state = 'pending' AND owner IS :owner AND expires_at <= :expired_at ORDER BY at

-- name: take_over
UPDATE task SET owner = :run
WHERE state = 'pending' AND owner IS :owner AND expires_at <= :expired_at

-- name: forget_tasks
DELETE FROM task WHERE id IN
(SELECT id FROM task WHERE keep_until < :now ORDER BY keep_until LIMIT 10000)

-- name: forget_totals
DELETE FROM total
WHERE (seconds = 300 AND start < :oldest_period) OR (seconds = 3600 AND start < :oldest)

-- name: forget_alerts
DELETE FROM alert WHERE at < :oldest

-- name: count
SELECT {keys}, sum(tasks) FROM total WHERE tasks > 0
AND (
    (seconds = 3600 AND start >= :first AND start < :periods_from)
    OR (seconds = 300 AND start >= max(:first, :periods_from))
)
AND (:site IS NULL OR site = :site) AND (:spider IS NULL OR spider = :spider)
GROUP BY {keys} ORDER BY {keys}

-- name: all_alerts
SELECT at, site, before, after, answers FROM alert ORDER BY at
