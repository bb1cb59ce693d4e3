-- Leases. A member that is late revives by renewing; it is steady again only after that.

-- `its_timeline` is the one that the member goes by, NULL where it knows none. Returns also the server's own.
CREATE FUNCTION hoox.renew_1(
    me text, its_host text, its_pid integer, lease double precision, its_timeline text,
    OUT moment timestamptz, OUT timeline text
)
LANGUAGE plpgsql AS $$
DECLARE
    length interval := make_interval(secs => lease);
BEGIN
    moment := hoox.now_1();
    timeline := hoox.timeline_1();
    IF its_timeline IS NULL THEN -- it begins: rarely, so a good moment to forget those that were killed long ago
        DELETE FROM hoox.members m WHERE m.expires_at < moment - interval '1 day';
    END IF;
    INSERT INTO hoox.members AS m (id, host, pid, expires_at, steady_since, timeline)
    VALUES (me, its_host, its_pid, moment + length, moment, coalesce(its_timeline, timeline))
    ON CONFLICT (id) DO UPDATE SET
        expires_at = moment + length,
        -- in time is within half a lease, since it is renewed every third of one
        steady_since = CASE
            WHEN m.expires_at - length / 2 >= moment AND m.timeline = EXCLUDED.timeline
                THEN least(m.steady_since, moment) -- the clock may go back
            ELSE moment
        END,
        timeline = EXCLUDED.timeline;
END $$;

CREATE FUNCTION hoox.is_alive_1(member text) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM hoox.members m
        WHERE m.id = $1 AND m.expires_at > hoox.now_1() AND m.timeline = hoox.timeline_1()
    )
$$;

-- Whether this member may take others for dead: it has renewed in time for one lease, so every member that
-- is alive had the time to do so too, also after the database was gone for a while.
CREATE FUNCTION hoox.may_sweep_1(me text, lease double precision) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM hoox.members m
        WHERE m.id = me
            AND m.expires_at - make_interval(secs => lease) / 2 >= hoox.now_1()
            AND m.steady_since + make_interval(secs => lease) <= hoox.now_1()
            AND m.timeline = hoox.timeline_1()
    )
$$;
