--
-- PostgreSQL database dump
--


-- Dumped from database version 16.14
-- Dumped by pg_dump version 16.14

SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', true);
SET LOCAL check_function_bodies = false;
SET LOCAL xmloption = content;
SET LOCAL client_min_messages = warning;
SET LOCAL row_security = off;

--
-- Name: hoox; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA hoox;


--
-- Name: is_alive_1(text); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.is_alive_1(member text) RETURNS boolean
    LANGUAGE sql
    AS $_$
    SELECT EXISTS (SELECT FROM "hoox".members m WHERE m.id = $1 AND m.expires_at > (SELECT (extract(epoch FROM "hoox".now_1()) * 1000000)::bigint) AND m.expires_at <= (SELECT (extract(epoch FROM "hoox".now_1()) * 1000000)::bigint) + 2 * m.lease AND m.timeline = (SELECT "hoox".timeline_1())) $_$;


--
-- Name: learn_1(bigint, bigint, text, integer, integer, integer, double precision, double precision, double precision, double precision, boolean, double precision); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.learn_1(its_id bigint, was bigint, new_learned text, new_limit integer, new_used integer, new_peak integer, new_used_until double precision, new_margin double precision, new_hold_until double precision, new_paused_until double precision, new_probing boolean, new_even_in double precision) RETURNS boolean
    LANGUAGE sql
    AS $$
    UPDATE "hoox".quotas SET learned = new_learned, learned_version = learned_version + 1, server_limit = new_limit,
        used = new_used, peak = new_peak, used_until = new_used_until, margin = new_margin,
        hold_until = new_hold_until,
        even_at = CASE WHEN is_probing AND NOT new_probing     -- the pause is over: go on without a burst
            THEN greatest(even_at, "hoox".quota_time_1(clock, ahead, NULL) + new_even_in)
            ELSE even_at END,
        paused_until = new_paused_until, is_probing = new_probing,
        probe = CASE WHEN new_probing AND is_probing AND new_paused_until = paused_until THEN probe END
        WHERE quota = its_id AND learned_version = was RETURNING true $$;


--
-- Name: learned_1(bigint, double precision, double precision, double precision); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.learned_1(its_id bigint, sent_ago double precision, minute double precision, latest double precision, OUT learned text, OUT version bigint, OUT moment double precision, OUT last_permit bigint, OUT counted_least integer, OUT counted_most integer) RETURNS record
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO "hoox".quotas (quota) VALUES (its_id) ON CONFLICT DO NOTHING;
    SELECT q.learned, q.learned_version, "hoox".quota_time_1(q.clock, q.ahead, latest), q.last_permit
        INTO learned, version, moment, last_permit FROM "hoox".quotas q WHERE quota = its_id;
    SELECT count(*) FILTER (WHERE sent_at <= moment - sent_ago AND sent_at > moment - sent_ago - minute),
           count(*) FILTER (WHERE sent_at IS NULL OR sent_at > moment - sent_ago - minute - 0.25)
        INTO counted_least, counted_most FROM "hoox".permits WHERE quota = its_id;
END $$;


--
-- Name: now_1(); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.now_1() RETURNS timestamp with time zone
    LANGUAGE sql
    AS $$SELECT clock_timestamp()$$;


--
-- Name: quota_time_1(double precision, double precision, double precision); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.quota_time_1(clock double precision, ahead double precision, latest double precision) RETURNS double precision
    LANGUAGE sql
    AS $$
    SELECT CASE WHEN latest < clock - 15 THEN latest
        ELSE greatest(clock, CASE WHEN t > latest + 1 THEN latest ELSE t END) END
    FROM (SELECT extract(epoch FROM "hoox".now_1())::float8 + ahead) AS server (t) $$;


--
-- Name: report_permits_1(bigint, bigint[], double precision[], double precision[], bigint[]); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.report_permits_1(its_id bigint, ids bigint[], sent_ago double precision[], arrived_ago double precision[], cancelled bigint[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE t float8; back float8;
BEGIN
    IF cancelled <> '{}' THEN
        PERFORM 1 FROM "hoox".quotas WHERE quota = its_id FOR UPDATE;    -- before the permits, as in reserve_1
        WITH gone AS (
            DELETE FROM "hoox".permits WHERE quota = its_id AND id = ANY (cancelled) AND sent_at IS NULL RETURNING step
        ) SELECT sum(step) INTO back FROM gone;
        UPDATE "hoox".quotas SET even_at = even_at - coalesce(back, 0),
            probe = CASE WHEN probe = ANY (cancelled) THEN NULL ELSE probe END WHERE quota = its_id;
    END IF;
    IF ids <> '{}' THEN
        UPDATE "hoox".quotas SET probe = NULL WHERE quota = its_id AND probe = ANY (ids);
    END IF;
    t := (SELECT "hoox".quota_time_1(clock, ahead, NULL) FROM "hoox".quotas WHERE quota = its_id);
    UPDATE "hoox".permits p SET sent_at = least(p.counts_from, t - r.sent),
        counts_from = least(p.counts_from, t - r.arrived)                                 -- only earlier:
        FROM unnest(ids, sent_ago, arrived_ago) AS r (id, sent, arrived)                  -- others planned with it
        WHERE p.quota = its_id AND p.id = r.id;
END $$;


--
-- Name: reserve_1(bigint, bigint, text, integer, double precision, integer, double precision, double precision, double precision); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.reserve_1(its_id bigint, my_workspace bigint, me text, my_limit integer, minute double precision, burst integer, horizon double precision, my_hold double precision, latest double precision, OUT permit bigint, OUT wait double precision, OUT moment double precision, OUT limit_now integer, OUT pace double precision, OUT counted integer, OUT learned text) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    q "hoox".quotas; t float8; span float8; stated int; base int; share int; at float8; nth float8; first float8; step float8;
    paced float8; was_set boolean; begins_anew boolean;
    farthest float8;                                   -- when a permit that was granted before now is used at the latest
BEGIN
    SELECT * INTO q FROM "hoox".quotas WHERE quota = its_id FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO "hoox".quotas (quota) VALUES (its_id) ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT q FROM "hoox".quotas WHERE quota = its_id FOR UPDATE;
    END IF;
    t := "hoox".quota_time_1(q.clock, q.ahead, latest);  -- after the lock: the time before the wait would be too early
    step := t - extract(epoch FROM "hoox".now_1())::float8;
    was_set := abs(step - q.ahead) > 0.25;             -- the server's clock
    IF was_set THEN q.ahead := step; END IF;
    INSERT INTO "hoox".stated_limits AS l VALUES (its_id, my_workspace, me, my_limit, my_hold)
        ON CONFLICT (quota, workspace, member) DO UPDATE SET stated = my_limit, hold = my_hold
        WHERE (l.stated, l.hold) <> (my_limit, my_hold);
    IF FOUND THEN                                      -- rarely: a good moment to forget those of ended members
        DELETE FROM "hoox".stated_limits l WHERE l.quota = its_id AND l.member <> me
            AND NOT EXISTS (SELECT 1 FROM "hoox".members m WHERE m.id = l.member);
    END IF;
    SELECT min(l.stated) FILTER (WHERE l.member = me OR l.stated < my_limit AND "hoox".is_alive_1(l.member)),
        t + 8 + max(l.hold) INTO stated, farthest FROM "hoox".stated_limits l WHERE l.quota = its_id;
    span := minute + q.margin;
    IF t < q.clock THEN                                -- what was granted by a clock that was not the quota's time
        UPDATE "hoox".permits SET counts_from = farthest WHERE quota = its_id AND counts_from > farthest;
        q.even_at := least(q.even_at, farthest); q.taken_at := least(q.taken_at, t);
        q.probe_until := least(q.probe_until, farthest); q.begins_at := least(q.begins_at, farthest + span);
    END IF;
    begins_anew := q.timeline <> "hoox".timeline_1();
    IF begins_anew THEN                                -- permits may be lost: nothing until they count no more,
        q.begins_at := farthest + span;                -- and their numbers are not used again
        DELETE FROM "hoox".permits WHERE quota = its_id;
        q.timeline := "hoox".timeline_1(); q.last_permit := q.last_permit + 1000000; q.probe := NULL;
        q.even_at := q.begins_at; q.taken_at := '-infinity'; q.probe_until := '-infinity';
    END IF;
    base := coalesce(q.server_limit, stated);
    limit_now := least(stated, base);
    IF t < q.used_until THEN
        share := "hoox".share_1(limit_now, base, q.used);
        pace := span / "hoox".share_1(limit_now, base, q.peak);
    ELSE
        share := limit_now;
        pace := span / limit_now;
    END IF;
    DELETE FROM "hoox".permits WHERE quota = its_id      -- later where it is not known whether the clock was set
        AND counts_from <= t - CASE WHEN latest IS NULL THEN 86400 ELSE minute + span END;
    SELECT count(*), min(counts_from) FILTER (WHERE sent_at IS NOT NULL) INTO counted, first FROM "hoox".permits
        WHERE quota = its_id AND counts_from > t - span;
    step := pace;                                      -- larger if a burst has left few permits
    IF share > counted AND first IS NOT NULL THEN step := greatest(pace, (first + span - t) / (share - counted)); END IF;

    at := greatest(t, q.begins_at, q.paused_until, q.hold_until);
    IF q.is_probing AND q.probe IS NOT NULL THEN at := greatest(at, q.probe_until); END IF;
    paced := q.even_at - (burst - 1) * pace;
    IF paced > at THEN at := greatest(at, least(paced, q.taken_at + step)); END IF;
    SELECT counts_from INTO nth FROM "hoox".permits WHERE quota = its_id AND counts_from > t - span
        ORDER BY counts_from DESC OFFSET share - 1 LIMIT 1;
    IF FOUND THEN at := greatest(at, nth + span); END IF;

    moment := t; learned := q.learned;
    IF at <= t + horizon THEN
        permit := q.last_permit + 1;
        INSERT INTO "hoox".permits (quota, id, counts_from, step) VALUES (its_id, permit, at + my_hold, step);
        q.even_at := greatest(q.even_at, at) + step; q.taken_at := at; q.last_permit := permit;
        IF q.is_probing THEN q.probe := permit; q.probe_until := at + 10; END IF;
        wait := at - t;
    ELSE
        wait := at - t - horizon;
        IF t <= q.clock + 1 AND NOT was_set AND NOT begins_anew THEN RETURN; END IF; -- nothing to write
    END IF;
    UPDATE "hoox".quotas SET clock = t, ahead = q.ahead, begins_at = q.begins_at, even_at = q.even_at,
        taken_at = q.taken_at, last_permit = q.last_permit, probe = q.probe, probe_until = q.probe_until,
        timeline = q.timeline WHERE quota = its_id;
END $$;


--
-- Name: share_1(integer, integer, integer); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.share_1(lim integer, base integer, others integer) RETURNS integer
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT greatest(1, lim / 20, least(lim, base - others)) $$;


--
-- Name: timeline_1(); Type: FUNCTION; Schema: hoox; Owner: -
--

CREATE FUNCTION hoox.timeline_1() RETURNS text
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
EXCEPTION WHEN OTHERS THEN
    RETURN '';
END $$;


SET LOCAL default_tablespace = '';

SET LOCAL default_table_access_method = heap;

--
-- Name: attempts; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.attempts (
    workspace bigint NOT NULL,
    id text NOT NULL,
    intent bigint NOT NULL,
    sent_at bigint NOT NULL
);


--
-- Name: budgets; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.budgets (
    workspace bigint NOT NULL,
    name text NOT NULL,
    max_credits bigint NOT NULL,
    charged bigint NOT NULL,
    initial bigint
);


--
-- Name: claimed; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.claimed (
    workspace bigint NOT NULL,
    avatar_id text NOT NULL,
    look_id text NOT NULL
);


--
-- Name: copies; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.copies (
    workspace bigint NOT NULL,
    made_by text,
    place text DEFAULT ''::text NOT NULL,
    moved_by text,
    moved_to text,
    handed_over integer DEFAULT 0 NOT NULL
);


--
-- Name: deliveries; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.deliveries (
    workspace bigint NOT NULL,
    attempt text NOT NULL,
    look_id text NOT NULL,
    record text NOT NULL,
    kept_by text NOT NULL,
    kept_in xid8 NOT NULL
);


--
-- Name: intents; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.intents (
    seq bigint NOT NULL,
    workspace bigint NOT NULL,
    key text NOT NULL,
    state text NOT NULL,
    version bigint NOT NULL,
    member text,
    teller text,
    notified text,
    avatar_id text,
    look_id text,
    record text NOT NULL,
    crc bigint NOT NULL,
    changed_in xid8 NOT NULL,
    changed_by text NOT NULL,
    listed_at bigint
);


--
-- Name: intents_seq_seq; Type: SEQUENCE; Schema: hoox; Owner: -
--

ALTER TABLE hoox.intents ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME hoox.intents_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: key_salt; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.key_salt (
    id integer NOT NULL,
    salt text NOT NULL,
    CONSTRAINT key_salt_id_check CHECK ((id = 1))
);


--
-- Name: leaders; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.leaders (
    workspace bigint NOT NULL,
    member text NOT NULL
);


--
-- Name: listed; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.listed (
    workspace bigint NOT NULL,
    avatar_id text NOT NULL,
    look_id text NOT NULL,
    place bigint NOT NULL
);


--
-- Name: members; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.members (
    id text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    lease bigint NOT NULL,
    expires_at bigint NOT NULL,
    steady_since bigint NOT NULL,
    timeline text NOT NULL
);


--
-- Name: permits; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.permits (
    quota bigint NOT NULL,
    id bigint NOT NULL,
    counts_from double precision NOT NULL,
    step double precision NOT NULL,
    sent_at double precision
)
WITH (fillfactor='50');


--
-- Name: quotas; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.quotas (
    quota bigint NOT NULL,
    clock double precision DEFAULT '-Infinity'::double precision NOT NULL,
    ahead double precision DEFAULT 0 NOT NULL,
    begins_at double precision DEFAULT '-Infinity'::double precision NOT NULL,
    even_at double precision DEFAULT '-Infinity'::double precision NOT NULL,
    taken_at double precision DEFAULT '-Infinity'::double precision NOT NULL,
    last_permit bigint DEFAULT 0 NOT NULL,
    probe bigint,
    probe_until double precision DEFAULT '-Infinity'::double precision NOT NULL,
    learned text,
    learned_version bigint DEFAULT 0 NOT NULL,
    server_limit integer,
    used integer DEFAULT 0 NOT NULL,
    peak integer DEFAULT 0 NOT NULL,
    used_until double precision DEFAULT '-Infinity'::double precision NOT NULL,
    margin double precision DEFAULT 0.05 NOT NULL,
    hold_until double precision DEFAULT '-Infinity'::double precision NOT NULL,
    paused_until double precision DEFAULT '-Infinity'::double precision NOT NULL,
    is_probing boolean DEFAULT false NOT NULL,
    timeline text DEFAULT hoox.timeline_1() NOT NULL
)
WITH (fillfactor='50');


--
-- Name: schema_versions; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.schema_versions (
    version integer NOT NULL,
    minimum_client integer NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: sends; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.sends (
    workspace bigint NOT NULL,
    sent_at bigint NOT NULL
);


--
-- Name: stated_limits; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.stated_limits (
    quota bigint NOT NULL,
    workspace bigint NOT NULL,
    member text NOT NULL,
    stated integer NOT NULL,
    hold double precision NOT NULL
);


--
-- Name: workspaces; Type: TABLE; Schema: hoox; Owner: -
--

CREATE TABLE hoox.workspaces (
    id bigint NOT NULL,
    name text NOT NULL,
    base_url text NOT NULL,
    fingerprint text NOT NULL,
    older_fingerprint text,
    key_confirmed integer DEFAULT 0 NOT NULL
);


--
-- Name: workspaces_id_seq; Type: SEQUENCE; Schema: hoox; Owner: -
--

ALTER TABLE hoox.workspaces ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME hoox.workspaces_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Data for Name: attempts; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.attempts VALUES (1, 'Ju-qvOgDmEA-1fbLPlLAD64K', 1, 1796258723619320);
INSERT INTO hoox.attempts VALUES (1, 'b9CFAEoWN6JAjBjnQJBxsEr0', 2, 1796258723808366);
INSERT INTO hoox.attempts VALUES (1, 'miyqIITwr2hcUwLPASH8FjkI', 3, 1796258723849793);
INSERT INTO hoox.attempts VALUES (1, 'VeuDv1Nv6eMIpzdaRg0LeYbi', 4, 1796258723896369);
INSERT INTO hoox.attempts VALUES (1, 'sK6FmFksHOurNQlaQ3QvRVCy', 5, 1796258724649267);
INSERT INTO hoox.attempts VALUES (1, 'yntgKhhsBBCCv-St-ta1T5UR', 6, 1796258724682481);
INSERT INTO hoox.attempts VALUES (1, 'w02U-ahBshmdCWh0yQnOlj0k', 7, 1796258724712792);
INSERT INTO hoox.attempts VALUES (1, '0d0iNjO92pGJMivbMad4vgpz', 8, 1796258724752721);
INSERT INTO hoox.attempts VALUES (1, 'IwxDCbRfVCFE6Zht-U7oUW6m', 9, 1796258724788324);
INSERT INTO hoox.attempts VALUES (1, '7f75QO9Li_Hn3631VC9QGUcV', 9, 1796258724820511);
INSERT INTO hoox.attempts VALUES (1, 'ZQPDiCplxQ_wyiTnbESMBV02', 10, 1796258724893124);
INSERT INTO hoox.attempts VALUES (1, 'LDtKt0ShUYAGBq6YKWIvj69Y', 10, 1796258724922246);
INSERT INTO hoox.attempts VALUES (1, 'fIEZQqg9k6-cVrXrLB-aKDhi', 11, 1796258724995652);
INSERT INTO hoox.attempts VALUES (1, 'QWOAxg_pSex_F7lL8OapeNKt', 12, 1796258725085531);
INSERT INTO hoox.attempts VALUES (1, 'hB7um7nUEISK1VPeHFvPAPCu', 13, 1796258725114356);
INSERT INTO hoox.attempts VALUES (1, 'V8OhQndIfgHcCKV567l54VIE', 14, 1796258725149356);
INSERT INTO hoox.attempts VALUES (1, 'q6zqwLgzsJpRh8xHU0PP_kMb', 15, 1796258725182272);
INSERT INTO hoox.attempts VALUES (1, '1xzyVav0iNA51l_4b0ORAbZ2', 16, 1796258725217157);
INSERT INTO hoox.attempts VALUES (1, '0toSWxPdQVna52fYv9BXi9Tx', 17, 1796258725727407);
INSERT INTO hoox.attempts VALUES (1, 'ecM0Sn-ORl7ye1XbCMDVdD5j', 12, 1796258726217940);
INSERT INTO hoox.attempts VALUES (1, '0am4nzeHXzq-lSsmiyd00wYF', 18, 1796258726720427);


--
-- Data for Name: budgets; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.budgets VALUES (1, 'spring', 50000000, 6000000, 0);


--
-- Data for Name: claimed; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.claimed VALUES (1, 'avtr_87c60750f6eb', 'look_80cd18ef1602');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_17a17a91c12c');
INSERT INTO hoox.claimed VALUES (1, 'avtr_ec5d6a8b0fd5', 'look_4b682fbab0b5');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_28b6cb691739');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_247fb9a6d0fb');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_e123ca141564');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_38e05eecd02f');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_dcd044022aed');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_cf2c0301bdb9');
INSERT INTO hoox.claimed VALUES (1, 'avtr_2cac48a84888', 'look_7c10523cbb71');


--
-- Data for Name: copies; Type: TABLE DATA; Schema: hoox; Owner: -
--



--
-- Data for Name: deliveries; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.deliveries VALUES (1, 'b9CFAEoWN6JAjBjnQJBxsEr0', 'look_17a17a91c12c', '{"v":1,"look_id":"look_17a17a91c12c","status":"ready","avatar_id":"avtr_2cac48a84888","thumbnail_url":"http://sandbox.invalid/pictures/look_17a17a91c12c.jpg"}', '700c15c9ff349ba3', '754');
INSERT INTO hoox.deliveries VALUES (1, 'miyqIITwr2hcUwLPASH8FjkI', 'look_4b682fbab0b5', '{"v":1,"look_id":"look_4b682fbab0b5","status":"ready","avatar_id":"avtr_ec5d6a8b0fd5","thumbnail_url":"http://sandbox.invalid/pictures/look_4b682fbab0b5.jpg"}', '700c15c9ff349ba3', '760');
INSERT INTO hoox.deliveries VALUES (1, 'VeuDv1Nv6eMIpzdaRg0LeYbi', 'look_28b6cb691739', '{"v":1,"look_id":"look_28b6cb691739","status":"ready","avatar_id":"avtr_2cac48a84888","thumbnail_url":"http://sandbox.invalid/pictures/look_28b6cb691739.jpg"}', '700c15c9ff349ba3', '766');
INSERT INTO hoox.deliveries VALUES (1, 'sK6FmFksHOurNQlaQ3QvRVCy', 'look_247fb9a6d0fb', '{"v":1,"look_id":"look_247fb9a6d0fb","status":"failed","avatar_id":"avtr_2cac48a84888","error_code":"GENERATION_FAILED","error_message":"Edit failed"}', '700c15c9ff349ba3', '774');
INSERT INTO hoox.deliveries VALUES (1, 'q6zqwLgzsJpRh8xHU0PP_kMb', 'look_53c10461ff7f', '{"v":1,"look_id":"look_53c10461ff7f","status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_53c10461ff7f.jpg"}', '700c15c9ff349ba3', '834');
INSERT INTO hoox.deliveries VALUES (1, '1xzyVav0iNA51l_4b0ORAbZ2', 'look_0e5752bdbf14', '{"v":1,"look_id":"look_0e5752bdbf14","status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_0e5752bdbf14.jpg"}', '700c15c9ff349ba3', '840');
INSERT INTO hoox.deliveries VALUES (1, 'V8OhQndIfgHcCKV567l54VIE', 'look_7c10523cbb71', '{"v":1,"look_id":"look_7c10523cbb71","status":"ready","avatar_id":"avtr_2cac48a84888","thumbnail_url":"http://sandbox.invalid/pictures/look_7c10523cbb71.jpg"}', '700c15c9ff349ba3', '857');


--
-- Data for Name: intents; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (1, 1, 'pruned', 'ready', 5, 'b8719aa323584b3d', NULL, NULL, 'avtr_87c60750f6eb', 'look_80cd18ef1602', '{"v":1,"key":"pruned","own_key":true,"request":{"type":"pruned","kind":"prompt","credits":"2"},"digest":"bb1bd52243f29613e5b6981b3c66634b","planned_at":"2026-12-03T00:45:23.607427+00:00","state":"ready","attempts":[{"id":"Ju-qvOgDmEA-1fbLPlLAD64K","sent_at":"2026-12-03T00:45:23.619320+00:00","credits":"2","answer_by":"2026-12-03T00:47:43.619320+00:00"}],"ref":{"avatar_id":"avtr_87c60750f6eb","look_id":"look_80cd18ef1602"},"evidence":"answer","accepted_at":"2026-12-03T00:45:23.664848+00:00","settled_at":"2026-12-03T00:45:23.680781+00:00","look":{"ref":{"avatar_id":"avtr_87c60750f6eb","look_id":"look_80cd18ef1602"},"status":"ready"},"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 4084928632, '747', 'without a session', 0);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (6, 1, 'rejected', 'rejected', 2, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"rejected","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"refused","resolution":"2K","upscale":false},"digest":"7daf246313110be80b36ef715fb8952c","planned_at":"2026-12-03T00:45:24.681060+00:00","state":"rejected","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"yntgKhhsBBCCv-St-ta1T5UR","sent_at":"2026-12-03T00:45:24.682481+00:00","credits":"2","answer_by":"2026-12-03T00:47:44.682481+00:00"}],"settled_at":"2026-12-03T00:45:24.704426+00:00","reason":{"status":400,"code":"bad_request","message":"no such scene"},"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 24974059, '780', '700c15c9ff349ba3', 2);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (3, 1, 'images', 'ready', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', 'look_4b682fbab0b5', 'avtr_ec5d6a8b0fd5', 'look_4b682fbab0b5', '{"v":1,"key":"images","own_key":true,"request":{"type":"images","image_urls":["https://images.example/alex.jpg"],"name":"Alex"},"digest":"721e39136c53792e9adf6b1935451e88","planned_at":"2026-12-03T00:45:23.845164+00:00","state":"ready","attempts":[{"id":"miyqIITwr2hcUwLPASH8FjkI","sent_at":"2026-12-03T00:45:23.849793+00:00","credits":"0","answer_by":"2026-12-03T00:47:43.849793+00:00"}],"ref":{"avatar_id":"avtr_ec5d6a8b0fd5","look_id":"look_4b682fbab0b5"},"evidence":"answer","accepted_at":"2026-12-03T00:45:23.877240+00:00","settled_at":"2026-12-03T00:45:23.888850+00:00","look":{"ref":{"avatar_id":"avtr_ec5d6a8b0fd5","look_id":"look_4b682fbab0b5"},"status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_4b682fbab0b5.jpg"},"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 3224376818, '763', '700c15c9ff349ba3', 0);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (8, 1, 'dropped', 'dropped', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"dropped","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"on a small stage","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own","metadata":{"customer":"acme"}},"digest":"ef4b2ebdfba55ba6ffee7493cdb2d2f3","planned_at":"2026-12-03T00:45:24.736429+00:00","state":"dropped","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"0d0iNjO92pGJMivbMad4vgpz","sent_at":"2026-12-03T00:45:24.752721+00:00","credits":"2"}],"reason":{"status":null,"code":null,"message":"the connection was lost (sandbox)"},"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 751613113, '789', '700c15c9ff349ba3', 2);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (7, 1, 'unknown', 'unknown', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"unknown","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"on a small stage","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own","metadata":{"customer":"acme"}},"digest":"ef4b2ebdfba55ba6ffee7493cdb2d2f3","planned_at":"2026-12-03T00:45:24.709298+00:00","state":"unknown","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"w02U-ahBshmdCWh0yQnOlj0k","sent_at":"2026-12-03T00:45:24.712792+00:00","credits":"2"}],"reason":{"status":null,"code":null,"message":"the connection was lost (sandbox)"},"candidates":[{"avatar_id":"avtr_2cac48a84888","look_id":"look_fa9a3d023216"}],"older":[{"avatar_id":"avtr_2cac48a84888","look_id":"look_1ff6c5f0c47a"}],"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 4026338280, '821', '700c15c9ff349ba3', 2);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (5, 1, 'failed', 'failed', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', 'look_247fb9a6d0fb', 'avtr_2cac48a84888', 'look_247fb9a6d0fb', '{"v":1,"key":"failed","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"it can''t be made [fail]","resolution":"2K","upscale":false},"digest":"f9adef60c449a7ccc38df6d27c737200","planned_at":"2026-12-03T00:45:24.643109+00:00","state":"failed","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"sK6FmFksHOurNQlaQ3QvRVCy","sent_at":"2026-12-03T00:45:24.649267+00:00","credits":"2","answer_by":"2026-12-03T00:47:44.649267+00:00"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_247fb9a6d0fb"},"evidence":"answer","accepted_at":"2026-12-03T00:45:24.676038+00:00","settled_at":"2026-12-03T00:45:24.678572+00:00","look":{"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_247fb9a6d0fb"},"status":"failed","error":{"code":"GENERATION_FAILED","message":"Edit failed"}},"past_spent":"0","past_at_risk":"0","past_failed":"0","budget":"spring"}', 1444857685, '776', '700c15c9ff349ba3', 2);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (4, 1, 'once-496ae2979a6c98303626d319', 'ready', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', 'look_28b6cb691739', 'avtr_2cac48a84888', 'look_28b6cb691739', '{"v":1,"key":"once-496ae2979a6c98303626d319","own_key":false,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"without a key","resolution":"2K","upscale":false},"digest":"9c0d6f2ca48c2b8c2f53fbef275cee99","planned_at":"2026-12-03T00:45:23.891359+00:00","state":"ready","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"VeuDv1Nv6eMIpzdaRg0LeYbi","sent_at":"2026-12-03T00:45:23.896369+00:00","credits":"2","answer_by":"2026-12-03T00:47:43.896369+00:00"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_28b6cb691739"},"evidence":"answer","accepted_at":"2026-12-03T00:45:23.923170+00:00","settled_at":"2026-12-03T00:45:23.930504+00:00","look":{"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_28b6cb691739"},"status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_28b6cb691739.jpg"},"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 965056786, '768', '700c15c9ff349ba3', 0);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (2, 1, 'ready', 'ready', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', 'look_17a17a91c12c', 'avtr_2cac48a84888', 'look_17a17a91c12c', '{"v":1,"key":"ready","own_key":true,"request":{"type":"prompt","prompt":"Fitness coach, fr\u00fch","style":"iphone","format":"vertical","resolution":"2K","name":"Mara","metadata":{"customer":"acme"}},"digest":"0e47424dd940da48ee7419748217cc44","planned_at":"2026-12-03T00:45:23.798350+00:00","state":"ready","attempts":[{"id":"b9CFAEoWN6JAjBjnQJBxsEr0","sent_at":"2026-12-03T00:45:23.808366+00:00","credits":"2","answer_by":"2026-12-03T00:47:43.808366+00:00"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"evidence":"answer","accepted_at":"2026-12-03T00:45:23.831625+00:00","settled_at":"2026-12-03T00:45:23.838141+00:00","look":{"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_17a17a91c12c.jpg"},"past_spent":"0","past_at_risk":"0","past_failed":"0","budget":"spring"}', 2939823443, '756', '700c15c9ff349ba3', 0);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (9, 1, 'dropped and paid again', 'ready', 6, '700c15c9ff349ba3', '700c15c9ff349ba3', 'look_e123ca141564', 'avtr_2cac48a84888', 'look_e123ca141564', '{"v":1,"key":"dropped and paid again","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"on a small stage","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own","metadata":{"customer":"acme"}},"digest":"ef4b2ebdfba55ba6ffee7493cdb2d2f3","planned_at":"2026-12-03T00:45:24.787032+00:00","state":"ready","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"IwxDCbRfVCFE6Zht-U7oUW6m","sent_at":"2026-12-03T00:45:24.788324+00:00","credits":"2"},{"id":"7f75QO9Li_Hn3631VC9QGUcV","sent_at":"2026-12-03T00:45:24.820511+00:00","credits":"2","answer_by":"2026-12-03T00:47:44.820511+00:00"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_e123ca141564"},"evidence":"answer","accepted_at":"2026-12-03T00:45:24.842914+00:00","settled_at":"2026-12-03T00:45:24.886135+00:00","look":{"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_e123ca141564"},"status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_e123ca141564.jpg","raw":{"avatar_id":"avtr_2cac48a84888","look_id":"look_e123ca141564","status":"completed","result":{"thumbnail_url":"http://sandbox.invalid/pictures/look_e123ca141564.jpg","id":"look_e123ca141564","gender":"female","place":"studio","format":"vertical","tags":["raw","studio"],"models":["standard","premium","ultra"]}}},"past_spent":"0","past_at_risk":"2","past_failed":"0"}', 2873117775, '799', '700c15c9ff349ba3', 2);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (10, 1, 'resent', 'ready', 5, '700c15c9ff349ba3', '700c15c9ff349ba3', 'look_38e05eecd02f', 'avtr_2cac48a84888', 'look_38e05eecd02f', '{"v":1,"key":"resent","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"on a small stage","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own","metadata":{"customer":"acme"}},"digest":"ef4b2ebdfba55ba6ffee7493cdb2d2f3","planned_at":"2026-12-03T00:45:24.891605+00:00","state":"ready","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"ZQPDiCplxQ_wyiTnbESMBV02","sent_at":"2026-12-03T00:45:24.893124+00:00","credits":"2"},{"id":"LDtKt0ShUYAGBq6YKWIvj69Y","sent_at":"2026-12-03T00:45:24.922246+00:00","credits":"2","answer_by":"2026-12-03T00:47:44.922246+00:00"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_38e05eecd02f"},"evidence":"answer","accepted_at":"2026-12-03T00:45:24.944451+00:00","settled_at":"2026-12-03T00:45:24.992181+00:00","look":{"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_38e05eecd02f"},"status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_38e05eecd02f.jpg","raw":{"avatar_id":"avtr_2cac48a84888","look_id":"look_38e05eecd02f","status":"completed","result":{"thumbnail_url":"http://sandbox.invalid/pictures/look_38e05eecd02f.jpg","id":"look_38e05eecd02f","gender":"female","place":"studio","format":"vertical","tags":["raw","studio"],"models":["standard","premium","ultra"]}}},"past_spent":"0","past_at_risk":"2","past_failed":"0","budget":"spring"}', 446738079, '810', '700c15c9ff349ba3', 2);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (11, 1, 'named by a person', 'ready', 4, '700c15c9ff349ba3', '700c15c9ff349ba3', 'look_dcd044022aed', 'avtr_2cac48a84888', 'look_dcd044022aed', '{"v":1,"key":"named by a person","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"on a small stage","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own","metadata":{"customer":"acme"}},"digest":"ef4b2ebdfba55ba6ffee7493cdb2d2f3","planned_at":"2026-12-03T00:45:24.994468+00:00","state":"ready","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"fIEZQqg9k6-cVrXrLB-aKDhi","sent_at":"2026-12-03T00:45:24.995652+00:00","credits":"2"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_dcd044022aed"},"evidence":"user","accepted_at":"2026-12-03T00:45:25.043956+00:00","settled_at":"2026-12-03T00:45:25.046620+00:00","look":{"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_dcd044022aed"},"status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_dcd044022aed.jpg","raw":{"id":"look_dcd044022aed","avatar_id":"avtr_2cac48a84888","avatar_name":"Mara","look_name":"Mara 8","gender":"female","age_range":"senior","ethnicity":"south-asian","hair_color":"black","place":"studio","accessories":[],"action":"relaxing","emotion":"neutral","selfie":false,"format":"vertical","thumbnail":"http://sandbox.invalid/pictures/look_dcd044022aed.jpg","preview":"http://sandbox.invalid/pictures/look_dcd044022aed.jpg","model_available":["standard","premium","ultra"],"status":"ready","error_message":null}},"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 3660831540, '817', '700c15c9ff349ba3', 2);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (13, 1, 'accepted', 'accepted', 2, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, 'avtr_2cac48a84888', 'look_cf2c0301bdb9', '{"v":1,"key":"accepted","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"on the way","resolution":"2K","upscale":false},"digest":"7a93533aed5253051e038656bdb62b0d","planned_at":"2026-12-03T00:45:25.113181+00:00","state":"accepted","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"hB7um7nUEISK1VPeHFvPAPCu","sent_at":"2026-12-03T00:45:25.114356+00:00","credits":"2","answer_by":"2026-12-03T00:47:45.114356+00:00"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_cf2c0301bdb9"},"evidence":"answer","accepted_at":"2026-12-03T00:45:25.146029+00:00","past_spent":"0","past_at_risk":"0","past_failed":"0"}', 3949812156, '828', '700c15c9ff349ba3', 3);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (15, 1, 'unknown and delivered', 'unknown', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"unknown and delivered","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_public_ada","look_id":"look_public_ada"},"prompt":"at the sea","resolution":"2K","upscale":false},"digest":"9a2e3bdd4c04195d1802a1bdb6a4d0c6","planned_at":"2026-12-03T00:45:25.181036+00:00","state":"unknown","source":{"avatar_id":"avtr_public_ada","look_id":"look_public_ada"},"attempts":[{"id":"q6zqwLgzsJpRh8xHU0PP_kMb","sent_at":"2026-12-03T00:45:25.182272+00:00","credits":"2"}],"reason":{"status":null,"code":null,"message":"the connection was lost (sandbox)"},"delivered":"look_53c10461ff7f","past_spent":"0","past_at_risk":"0","past_failed":"0"}', 83601133, '837', '700c15c9ff349ba3', 3);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (16, 1, 'sending and delivered', 'sending', 1, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"sending and delivered","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"in a car","resolution":"2K","upscale":false},"digest":"dbaf18ebad26d5ae1be4ad292561b2ed","planned_at":"2026-12-03T00:45:25.214467+00:00","state":"sending","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"1xzyVav0iNA51l_4b0ORAbZ2","sent_at":"2026-12-03T00:45:25.217157+00:00","credits":"2","answer_by":"2026-12-03T00:47:45.217157+00:00"}],"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 2056926068, '839', '700c15c9ff349ba3', 3);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (17, 1, 'sending', 'sending', 1, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"sending","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"in a caf\u00e9","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own"},"digest":"0168142d5452b36a0207040a9907e1f2","planned_at":"2026-12-03T00:45:25.725340+00:00","state":"sending","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"0toSWxPdQVna52fYv9BXi9Tx","sent_at":"2026-12-03T00:45:25.727407+00:00","credits":"2","answer_by":"2026-12-03T00:47:45.727407+00:00"}],"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 310919618, '843', '700c15c9ff349ba3', 3);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (12, 1, 'sending again', 'sending', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"sending again","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"in a caf\u00e9","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own"},"digest":"0168142d5452b36a0207040a9907e1f2","planned_at":"2026-12-03T00:45:25.084325+00:00","state":"sending","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"QWOAxg_pSex_F7lL8OapeNKt","sent_at":"2026-12-03T00:45:25.085531+00:00","credits":"2"},{"id":"ecM0Sn-ORl7ye1XbCMDVdD5j","sent_at":"2026-12-03T00:45:26.217940+00:00","credits":"2","answer_by":"2026-12-03T00:47:46.217940+00:00"}],"past_spent":"0","past_at_risk":"2","past_failed":"0","previous":{"key":"sending again","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"in a caf\u00e9","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own"},"digest":"0168142d5452b36a0207040a9907e1f2","planned_at":"2026-12-03T00:45:25.084325+00:00","state":"unknown","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"QWOAxg_pSex_F7lL8OapeNKt","sent_at":"2026-12-03T00:45:25.085531+00:00","credits":"2"}],"reason":{"status":null,"code":null,"message":"the connection was lost (sandbox)"},"past_spent":"0","past_at_risk":"0","past_failed":"0"}}', 4241946730, '847', '700c15c9ff349ba3', 3);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (18, 1, 'planned', 'planned', 2, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, NULL, NULL, '{"v":1,"key":"planned","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"in a caf\u00e9","resolution":"2K","upscale":false,"webhook_url":"https://shop.example/a-hook-of-its-own"},"digest":"0168142d5452b36a0207040a9907e1f2","planned_at":"2026-12-03T00:45:26.718991+00:00","state":"planned","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"0am4nzeHXzq-lSsmiyd00wYF","sent_at":"2026-12-03T00:45:26.720427+00:00","credits":"2","answer_by":"2026-12-03T00:47:46.720427+00:00"}],"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 2388563037, '851', '700c15c9ff349ba3', 3);
INSERT INTO hoox.intents OVERRIDING SYSTEM VALUE VALUES (14, 1, 'owed news', 'ready', 3, '700c15c9ff349ba3', '700c15c9ff349ba3', NULL, 'avtr_2cac48a84888', 'look_7c10523cbb71', '{"v":1,"key":"owed news","own_key":true,"request":{"type":"edit","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"prompt":"the hook dies","resolution":"2K","upscale":false},"digest":"6f18d2f4909344721137d0437fab8af6","planned_at":"2026-12-03T00:45:25.148271+00:00","state":"ready","source":{"avatar_id":"avtr_2cac48a84888","look_id":"look_17a17a91c12c"},"attempts":[{"id":"V8OhQndIfgHcCKV567l54VIE","sent_at":"2026-12-03T00:45:25.149356+00:00","credits":"2","answer_by":"2026-12-03T00:47:45.149356+00:00"}],"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_7c10523cbb71"},"evidence":"answer","accepted_at":"2026-12-03T00:45:25.174214+00:00","settled_at":"2026-12-03T00:45:29.222527+00:00","look":{"ref":{"avatar_id":"avtr_2cac48a84888","look_id":"look_7c10523cbb71"},"status":"ready","thumbnail_url":"http://sandbox.invalid/pictures/look_7c10523cbb71.jpg"},"past_spent":"0","past_at_risk":"0","past_failed":"0"}', 2939467569, '858', '700c15c9ff349ba3', 3);


--
-- Data for Name: key_salt; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.key_salt VALUES (1, '84f173250d464748a07c4435196edf3449a9eaef93044946b4da43d993dd2f70');


--
-- Data for Name: leaders; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.leaders VALUES (1, '700c15c9ff349ba3');


--
-- Data for Name: listed; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.listed VALUES (1, 'avtr_2cac48a84888', '', 1);
INSERT INTO hoox.listed VALUES (1, 'avtr_2cac48a84888', 'look_1ff6c5f0c47a', 2);
INSERT INTO hoox.listed VALUES (1, 'avtr_2cac48a84888', 'look_fa9a3d023216', 3);


--
-- Data for Name: members; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.members VALUES ('700c15c9ff349ba3', 'shop-1', 31440, 10000000, 1796258737070749, 1796258723732008, '00000001');


--
-- Data for Name: permits; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.permits VALUES (1, 1, 1796258723.6600642, 0.010008333333333333, 1796258723.6369178);
INSERT INTO hoox.permits VALUES (1, 2, 1796258723.8315806, 0.010008333333333333, 1796258723.8102562);
INSERT INTO hoox.permits VALUES (1, 3, 1796258723.8771892, 0.010008333333333333, 1796258723.8561957);
INSERT INTO hoox.permits VALUES (1, 4, 1796258723.9232411, 0.010008333333333333, 1796258723.8993773);
INSERT INTO hoox.permits VALUES (1, 5, 1796258724.639771, 0.010008333333333333, 1796258724.61931);
INSERT INTO hoox.permits VALUES (1, 6, 1796258724.675192, 0.010008333333333333, 1796258724.6498141);
INSERT INTO hoox.permits VALUES (1, 7, 1796258724.70376, 0.010008333333333333, 1796258724.682635);
INSERT INTO hoox.permits VALUES (1, 8, 1796258724.733412, 0.010008333333333333, 1796258724.7129223);
INSERT INTO hoox.permits VALUES (1, 9, 1796258724.7736442, 0.010008333333333333, 1796258724.7533176);
INSERT INTO hoox.permits VALUES (1, 10, 1796258724.808531, 0.010008333333333333, 1796258724.7882361);
INSERT INTO hoox.permits VALUES (1, 11, 1796258724.8420718, 0.010008333333333333, 1796258724.8208618);
INSERT INTO hoox.permits VALUES (1, 12, 1796258724.8851755, 0.010008333333333333, 1796258724.8646953);
INSERT INTO hoox.permits VALUES (1, 13, 1796258724.9141595, 0.010008333333333333, 1796258724.893768);
INSERT INTO hoox.permits VALUES (1, 14, 1796258724.9438565, 0.010008333333333333, 1796258724.923298);
INSERT INTO hoox.permits VALUES (1, 15, 1796258724.9927526, 0.010008333333333333, 1796258724.9687808);
INSERT INTO hoox.permits VALUES (1, 16, 1796258725.0188887, 0.010008333333333333, 1796258724.9983833);
INSERT INTO hoox.permits VALUES (1, 17, 1796258725.0426102, 0.010008333333333333, 1796258725.022169);
INSERT INTO hoox.permits VALUES (1, 18, 1796258725.0733595, 0.010008333333333333, 1796258725.0519657);
INSERT INTO hoox.permits VALUES (1, 19, 1796258725.0886436, 0.010008333333333333, 1796258725.0671449);
INSERT INTO hoox.permits VALUES (1, 20, 1796258725.1065772, 0.010008333333333333, 1796258725.0854673);
INSERT INTO hoox.permits VALUES (1, 21, 1796258725.1452281, 0.010008333333333333, 1796258725.1230004);
INSERT INTO hoox.permits VALUES (1, 22, 1796258725.1734283, 0.010008333333333333, 1796258725.149307);
INSERT INTO hoox.permits VALUES (1, 24, 1796258760.215592, 0.010008333333333333, NULL);
INSERT INTO hoox.permits VALUES (1, 23, 1796258725.206352, 0.010008333333333333, 1796258725.182455);
INSERT INTO hoox.permits VALUES (1, 25, 1796258760.72569, 0.010008333333333333, NULL);
INSERT INTO hoox.permits VALUES (1, 26, 1796258761.216254, 0.010008333333333333, NULL);
INSERT INTO hoox.permits VALUES (1, 27, 1796258726.2481046, 0.010008333333333333, 1796258726.222933);
INSERT INTO hoox.permits VALUES (1, 28, 1796258726.74832, 0.010008333333333333, 1796258726.7217233);


--
-- Data for Name: quotas; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.quotas VALUES (1, 1796258726.752958, 0, '-Infinity', 1796258726.752958, 1796258726.752958, 29, NULL, '-Infinity', '{"external": {"limit": 100, "hold_until": -Infinity, "none_after": -Infinity, "_resets_at": 1796258727.010242, "_reset_ahead": 0.2580680847167969, "_used": 0, "_recorded_at": -Infinity, "_as_of": -Infinity, "_peaks": [], "_variation": 0.0, "_has_fixed_minutes": true, "_reset_seen": [1796258726.752174, 1796258727.010242]}, "inferred": {"reserve": 0, "none_after": -Infinity, "lower_at": Infinity, "lower_by": 1, "doubted_at": 1796258726.759279}, "throttling": {"paused_until": 1796258786.759279, "throttled_since": 1796258726.759279, "is_probing": true, "last_before_pause": 29, "count": 1, "contradictions": 0}, "margin": 0.05}', 2, 100, 0, 0, '-Infinity', 0.05, '-Infinity', 1796258786.759279, true, '00000001');


--
-- Data for Name: schema_versions; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.schema_versions VALUES (1, 1, '2026-12-03 00:45:23.527868+00');


--
-- Data for Name: sends; Type: TABLE DATA; Schema: hoox; Owner: -
--



--
-- Data for Name: stated_limits; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.stated_limits VALUES (1, 1, '700c15c9ff349ba3', 6000, 35);


--
-- Data for Name: workspaces; Type: TABLE DATA; Schema: hoox; Owner: -
--

INSERT INTO hoox.workspaces OVERRIDING SYSTEM VALUE VALUES (1, 'default', 'https://app.hoox.video/api/public/v1', 'b184433560180be675d82b6435440355aa9b9f0749277cf1a1e6a35872f43e2f', NULL, 1);


--
-- Name: intents_seq_seq; Type: SEQUENCE SET; Schema: hoox; Owner: -
--

SELECT pg_catalog.setval('hoox.intents_seq_seq', 18, true);


--
-- Name: workspaces_id_seq; Type: SEQUENCE SET; Schema: hoox; Owner: -
--

SELECT pg_catalog.setval('hoox.workspaces_id_seq', 1, true);


--
-- Name: attempts attempts_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (workspace, id);


--
-- Name: budgets budgets_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.budgets
    ADD CONSTRAINT budgets_pkey PRIMARY KEY (workspace, name);


--
-- Name: claimed claimed_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.claimed
    ADD CONSTRAINT claimed_pkey PRIMARY KEY (workspace, avatar_id, look_id);


--
-- Name: copies copies_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.copies
    ADD CONSTRAINT copies_pkey PRIMARY KEY (workspace);


--
-- Name: deliveries deliveries_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (workspace, attempt);


--
-- Name: intents intents_key; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.intents
    ADD CONSTRAINT intents_key UNIQUE (workspace, key);


--
-- Name: intents intents_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.intents
    ADD CONSTRAINT intents_pkey PRIMARY KEY (seq);


--
-- Name: key_salt key_salt_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.key_salt
    ADD CONSTRAINT key_salt_pkey PRIMARY KEY (id);


--
-- Name: leaders leaders_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.leaders
    ADD CONSTRAINT leaders_pkey PRIMARY KEY (workspace);


--
-- Name: listed listed_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.listed
    ADD CONSTRAINT listed_pkey PRIMARY KEY (workspace, avatar_id, look_id);


--
-- Name: members members_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (id);


--
-- Name: permits permits_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.permits
    ADD CONSTRAINT permits_pkey PRIMARY KEY (quota, id);


--
-- Name: quotas quotas_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.quotas
    ADD CONSTRAINT quotas_pkey PRIMARY KEY (quota);


--
-- Name: schema_versions schema_versions_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.schema_versions
    ADD CONSTRAINT schema_versions_pkey PRIMARY KEY (version);


--
-- Name: stated_limits stated_limits_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.stated_limits
    ADD CONSTRAINT stated_limits_pkey PRIMARY KEY (quota, workspace, member);


--
-- Name: workspaces workspaces_name_key; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.workspaces
    ADD CONSTRAINT workspaces_name_key UNIQUE (name);


--
-- Name: workspaces workspaces_pkey; Type: CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.workspaces
    ADD CONSTRAINT workspaces_pkey PRIMARY KEY (id);


--
-- Name: attempts_id; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX attempts_id ON hoox.attempts USING btree (id);


--
-- Name: attempts_intent; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX attempts_intent ON hoox.attempts USING btree (intent);


--
-- Name: attempts_sent_at; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX attempts_sent_at ON hoox.attempts USING btree (workspace, sent_at);


--
-- Name: deliveries_kept; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX deliveries_kept ON hoox.deliveries USING btree (kept_in);


--
-- Name: deliveries_look; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX deliveries_look ON hoox.deliveries USING btree (workspace, look_id);


--
-- Name: intents_changed; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX intents_changed ON hoox.intents USING btree (changed_in, seq);


--
-- Name: intents_look; Type: INDEX; Schema: hoox; Owner: -
--

CREATE UNIQUE INDEX intents_look ON hoox.intents USING btree (workspace, avatar_id, look_id) WHERE (look_id IS NOT NULL);


--
-- Name: intents_open; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX intents_open ON hoox.intents USING btree (workspace, seq) WHERE (state = ANY (ARRAY['planned'::text, 'sending'::text, 'unknown'::text, 'accepted'::text]));


--
-- Name: intents_owing; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX intents_owing ON hoox.intents USING btree (workspace, seq) WHERE ((teller IS NOT NULL) AND (state = ANY (ARRAY['ready'::text, 'failed'::text])) AND (COALESCE(notified, ''::text) <> COALESCE(look_id, ''::text)));


--
-- Name: intents_page; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX intents_page ON hoox.intents USING btree (workspace, seq);


--
-- Name: intents_sending; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX intents_sending ON hoox.intents USING btree (workspace) WHERE (state = 'sending'::text);


--
-- Name: listed_place; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX listed_place ON hoox.listed USING btree (workspace, place);


--
-- Name: permits_by_time; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX permits_by_time ON hoox.permits USING btree (quota, counts_from DESC);


--
-- Name: sends_sent_at; Type: INDEX; Schema: hoox; Owner: -
--

CREATE INDEX sends_sent_at ON hoox.sends USING btree (workspace, sent_at);


--
-- Name: attempts attempts_intent_fkey; Type: FK CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.attempts
    ADD CONSTRAINT attempts_intent_fkey FOREIGN KEY (intent) REFERENCES hoox.intents(seq);


--
-- Name: copies copies_workspace_fkey; Type: FK CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.copies
    ADD CONSTRAINT copies_workspace_fkey FOREIGN KEY (workspace) REFERENCES hoox.workspaces(id);


--
-- Name: intents intents_workspace_fkey; Type: FK CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.intents
    ADD CONSTRAINT intents_workspace_fkey FOREIGN KEY (workspace) REFERENCES hoox.workspaces(id);


--
-- Name: leaders leaders_workspace_fkey; Type: FK CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.leaders
    ADD CONSTRAINT leaders_workspace_fkey FOREIGN KEY (workspace) REFERENCES hoox.workspaces(id);


--
-- Name: quotas quotas_quota_fkey; Type: FK CONSTRAINT; Schema: hoox; Owner: -
--

ALTER TABLE ONLY hoox.quotas
    ADD CONSTRAINT quotas_quota_fkey FOREIGN KEY (quota) REFERENCES hoox.workspaces(id);


--
-- PostgreSQL database dump complete
--


