-- The shared quota: at most so many permits count in any minute, by one time for all processes.
--
-- A permit counts from `counts_from` until `span` seconds (a minute and a margin) later. It is reserved as if its
-- request arrived as late as its holder may send it (`at + hold`). The holder reports later when the request really
-- arrived, which is never later, or cancels the permit.
-- A permit is granted for a moment `at` only if, of all permits that still count at `at`, those that begin later
-- included, there are less than the limit. So at no moment more than the limit count.
--
-- Times are seconds of the quota's own time: seconds since 1970 by `now_1()`, and `ahead`, so that it goes on evenly
-- where the server's clock is set. It never goes back. A step ahead shows by the clocks of the processes: each says
-- what the quota's time is at most, `latest`, by what it heard last and what it has measured since.

-- Workspaces that share an API key share a quota: its number is that of the first of them.
CREATE TABLE hoox.quotas (
    quota bigint PRIMARY KEY REFERENCES hoox.workspaces (id),
    clock float8 NOT NULL DEFAULT '-infinity',         -- the latest time that was read: it does not run backwards
    ahead float8 NOT NULL DEFAULT 0,                   -- how far the quota's time is ahead of the server's clock
    begins_at float8 NOT NULL DEFAULT '-infinity',     -- no permit is granted for an earlier moment: see begins_anew
    even_at float8 NOT NULL DEFAULT '-infinity',       -- when the next permit is due at an even rate
    taken_at float8 NOT NULL DEFAULT '-infinity',      -- the moment that the latest permit was granted for
    last_permit bigint NOT NULL DEFAULT 0,
    probe bigint,                                      -- while probing: the permit whose answer is awaited
    probe_until float8 NOT NULL DEFAULT '-infinity',
    -- What was learned from answers (`SharedLearning`), and its terms.
    learned text,
    learned_version bigint NOT NULL DEFAULT 0,
    server_limit int,
    used int NOT NULL DEFAULT 0,
    peak int NOT NULL DEFAULT 0,
    used_until float8 NOT NULL DEFAULT '-infinity',
    margin float8 NOT NULL DEFAULT 0.05,
    hold_until float8 NOT NULL DEFAULT '-infinity',
    paused_until float8 NOT NULL DEFAULT '-infinity',
    is_probing boolean NOT NULL DEFAULT false,
    timeline text NOT NULL DEFAULT hoox.timeline_1()   -- on which the permits were granted
) WITH (fillfactor = 50);

-- What the sessions of living members state as the limit: the lowest holds. And for how many seconds each may hold a
-- permit.
CREATE TABLE hoox.stated_limits (
    quota bigint NOT NULL,
    workspace bigint NOT NULL,
    member text NOT NULL,
    stated int NOT NULL,
    hold float8 NOT NULL,
    PRIMARY KEY (quota, workspace, member)
);

CREATE TABLE hoox.permits (
    quota bigint NOT NULL,
    id bigint NOT NULL,
    counts_from float8 NOT NULL,
    step float8 NOT NULL,                              -- by how much it moved the pace
    sent_at float8,                                    -- when its request was sent; NULL: not reported yet
    PRIMARY KEY (quota, id)
) WITH (fillfactor = 50);
CREATE INDEX permits_by_time ON hoox.permits (quota, counts_from DESC);

-- How many of a minute's requests are ours, if `others` are to be left to other clients.
CREATE FUNCTION hoox.share_1(lim int, base int, others int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(1, lim / 20, least(lim, base - others)) $$;

-- The quota's time now. `clock` and `ahead` are what its row says, `latest` is NULL where the caller knows nothing.
-- A second is for the statement's way. A `clock` that is far after `latest` was read by a process that knew nothing,
-- just after a step ahead.
CREATE FUNCTION hoox.quota_time_1(clock float8, ahead float8, latest float8) RETURNS float8 LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN latest < clock - 15 THEN latest
        ELSE greatest(clock, CASE WHEN t > latest + 1 THEN latest ELSE t END) END
    FROM (SELECT extract(epoch FROM hoox.now_1())::float8 + ahead) AS server (t) $$;

-- A permit at most `horizon` seconds ahead: its number, and in how many seconds it may be used. Or no number, and
-- in how many seconds to ask again. Who may look further ahead goes first: the horizon is the priority.
CREATE FUNCTION hoox.reserve_1(
    its_id bigint, my_workspace bigint, me text, my_limit int, minute float8, burst int, horizon float8, my_hold float8, latest float8,
    OUT permit bigint, OUT wait float8, OUT moment float8, OUT limit_now int, OUT pace float8, OUT counted int,
    OUT learned text
) LANGUAGE plpgsql AS $$
DECLARE
    q hoox.quotas; t float8; span float8; stated int; base int; share int; at float8; nth float8; first float8; step float8;
    paced float8; was_set boolean; begins_anew boolean;
    farthest float8;                                   -- when a permit that was granted before now is used at the latest
BEGIN
    SELECT * INTO q FROM hoox.quotas WHERE quota = its_id FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO hoox.quotas (quota) VALUES (its_id) ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT q FROM hoox.quotas WHERE quota = its_id FOR UPDATE;
    END IF;
    t := hoox.quota_time_1(q.clock, q.ahead, latest);  -- after the lock: the time before the wait would be too early
    step := t - extract(epoch FROM hoox.now_1())::float8;
    was_set := abs(step - q.ahead) > 0.25;             -- the server's clock
    IF was_set THEN q.ahead := step; END IF;
    INSERT INTO hoox.stated_limits AS l VALUES (its_id, my_workspace, me, my_limit, my_hold)
        ON CONFLICT (quota, workspace, member) DO UPDATE SET stated = my_limit, hold = my_hold
        WHERE (l.stated, l.hold) <> (my_limit, my_hold);
    IF FOUND THEN                                      -- rarely: a good moment to forget those of ended members
        DELETE FROM hoox.stated_limits l WHERE l.quota = its_id AND l.member <> me
            AND NOT EXISTS (SELECT 1 FROM hoox.members m WHERE m.id = l.member);
    END IF;
    SELECT min(l.stated) FILTER (WHERE l.member = me OR l.stated < my_limit AND hoox.is_alive_1(l.member)),
        t + 8 + max(l.hold) INTO stated, farthest FROM hoox.stated_limits l WHERE l.quota = its_id;
    span := minute + q.margin;
    IF t < q.clock THEN                                -- what was granted by a clock that was not the quota's time
        UPDATE hoox.permits SET counts_from = farthest WHERE quota = its_id AND counts_from > farthest;
        q.even_at := least(q.even_at, farthest); q.taken_at := least(q.taken_at, t);
        q.probe_until := least(q.probe_until, farthest); q.begins_at := least(q.begins_at, farthest + span);
    END IF;
    begins_anew := q.timeline <> hoox.timeline_1();
    IF begins_anew THEN                                -- permits may be lost: nothing until they count no more,
        q.begins_at := farthest + span;                -- and their numbers are not used again
        DELETE FROM hoox.permits WHERE quota = its_id;
        q.timeline := hoox.timeline_1(); q.last_permit := q.last_permit + 1000000; q.probe := NULL;
        q.even_at := q.begins_at; q.taken_at := '-infinity'; q.probe_until := '-infinity';
    END IF;
    base := coalesce(q.server_limit, stated);
    limit_now := least(stated, base);
    IF t < q.used_until THEN
        share := hoox.share_1(limit_now, base, q.used);
        pace := span / hoox.share_1(limit_now, base, q.peak);
    ELSE
        share := limit_now;
        pace := span / limit_now;
    END IF;
    DELETE FROM hoox.permits WHERE quota = its_id      -- later where it is not known whether the clock was set
        AND counts_from <= t - CASE WHEN latest IS NULL THEN 86400 ELSE minute + span END;
    SELECT count(*), min(counts_from) FILTER (WHERE sent_at IS NOT NULL) INTO counted, first FROM hoox.permits
        WHERE quota = its_id AND counts_from > t - span;
    step := pace;                                      -- larger if a burst has left few permits
    IF share > counted AND first IS NOT NULL THEN step := greatest(pace, (first + span - t) / (share - counted)); END IF;

    at := greatest(t, q.begins_at, q.paused_until, q.hold_until);
    IF q.is_probing AND q.probe IS NOT NULL THEN at := greatest(at, q.probe_until); END IF;
    paced := q.even_at - (burst - 1) * pace;
    IF paced > at THEN at := greatest(at, least(paced, q.taken_at + step)); END IF;
    SELECT counts_from INTO nth FROM hoox.permits WHERE quota = its_id AND counts_from > t - span
        ORDER BY counts_from DESC OFFSET share - 1 LIMIT 1;
    IF FOUND THEN at := greatest(at, nth + span); END IF;

    moment := t; learned := q.learned;
    IF at <= t + horizon THEN
        permit := q.last_permit + 1;
        INSERT INTO hoox.permits (quota, id, counts_from, step) VALUES (its_id, permit, at + my_hold, step);
        q.even_at := greatest(q.even_at, at) + step; q.taken_at := at; q.last_permit := permit;
        IF q.is_probing THEN q.probe := permit; q.probe_until := at + 10; END IF;
        wait := at - t;
    ELSE
        wait := at - t - horizon;
        IF t <= q.clock + 1 AND NOT was_set AND NOT begins_anew THEN RETURN; END IF; -- nothing to write
    END IF;
    UPDATE hoox.quotas SET clock = t, ahead = q.ahead, begins_at = q.begins_at, even_at = q.even_at,
        taken_at = q.taken_at, last_permit = q.last_permit, probe = q.probe, probe_until = q.probe_until,
        timeline = q.timeline WHERE quota = its_id;
END $$;

-- These requests were sent and have arrived, so many seconds ago; these permits were cancelled: nothing was sent.
-- Reported twice, it changes nothing.
CREATE FUNCTION hoox.report_permits_1(
    its_id bigint, ids bigint[], sent_ago float8[], arrived_ago float8[], cancelled bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE t float8; back float8;
BEGIN
    IF cancelled <> '{}' THEN
        PERFORM 1 FROM hoox.quotas WHERE quota = its_id FOR UPDATE;    -- before the permits, as in reserve_1
        WITH gone AS (
            DELETE FROM hoox.permits WHERE quota = its_id AND id = ANY (cancelled) AND sent_at IS NULL RETURNING step
        ) SELECT sum(step) INTO back FROM gone;
        UPDATE hoox.quotas SET even_at = even_at - coalesce(back, 0),
            probe = CASE WHEN probe = ANY (cancelled) THEN NULL ELSE probe END WHERE quota = its_id;
    END IF;
    IF ids <> '{}' THEN
        UPDATE hoox.quotas SET probe = NULL WHERE quota = its_id AND probe = ANY (ids);
    END IF;
    t := (SELECT hoox.quota_time_1(clock, ahead, NULL) FROM hoox.quotas WHERE quota = its_id);
    UPDATE hoox.permits p SET sent_at = least(p.counts_from, t - r.sent),
        counts_from = least(p.counts_from, t - r.arrived)                                 -- only earlier:
        FROM unnest(ids, sent_ago, arrived_ago) AS r (id, sent, arrived)                  -- others planned with it
        WHERE p.quota = its_id AND p.id = r.id;
END $$;

-- What was learned so far, for the answer to a request that was sent so many seconds ago, and how many of our
-- requests a server had certainly counted when it arrived, and can have counted until it answered.
CREATE FUNCTION hoox.learned_1(its_id bigint, sent_ago float8, minute float8, latest float8,
    OUT learned text, OUT version bigint, OUT moment float8, OUT last_permit bigint, OUT counted_least int, OUT counted_most int
) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hoox.quotas (quota) VALUES (its_id) ON CONFLICT DO NOTHING;
    SELECT q.learned, q.learned_version, hoox.quota_time_1(q.clock, q.ahead, latest), q.last_permit
        INTO learned, version, moment, last_permit FROM hoox.quotas q WHERE quota = its_id;
    SELECT count(*) FILTER (WHERE sent_at <= moment - sent_ago AND sent_at > moment - sent_ago - minute),
           count(*) FILTER (WHERE sent_at IS NULL OR sent_at > moment - sent_ago - minute - 0.25)
        INTO counted_least, counted_most FROM hoox.permits WHERE quota = its_id;
END $$;

-- Write what was learned from an answer, unless another process has written something meanwhile.
CREATE FUNCTION hoox.learn_1(its_id bigint, was bigint, new_learned text, new_limit int, new_used int, new_peak int,
    new_used_until float8, new_margin float8, new_hold_until float8, new_paused_until float8, new_probing boolean, new_even_in float8
) RETURNS boolean LANGUAGE sql AS $$
    UPDATE hoox.quotas SET learned = new_learned, learned_version = learned_version + 1, server_limit = new_limit,
        used = new_used, peak = new_peak, used_until = new_used_until, margin = new_margin,
        hold_until = new_hold_until,
        even_at = CASE WHEN is_probing AND NOT new_probing     -- the pause is over: go on without a burst
            THEN greatest(even_at, hoox.quota_time_1(clock, ahead, NULL) + new_even_in)
            ELSE even_at END,
        paused_until = new_paused_until, is_probing = new_probing,
        probe = CASE WHEN new_probing AND is_probing AND new_paused_until = paused_until THEN probe END
        WHERE quota = its_id AND learned_version = was RETURNING true $$;
