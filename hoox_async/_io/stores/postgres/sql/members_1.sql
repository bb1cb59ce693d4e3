-- Leases. A member that is late revives by renewing; it is steady again only after that.
--
-- The clock may be set. A lease that ends later than any that is renewed now can, two lengths ahead to allow for a small
-- step, was renewed before the clock went back: it tells nothing, until it is renewed or everybody had the time for that.

-- `its_timeline` is the one that the member goes by, NULL where it knows none. Returns also the server's own.
CREATE FUNCTION hoox.renew_1(
    me text, its_host text, its_pid integer, its_lease double precision, its_timeline text,
    OUT moment timestamptz, OUT timeline text
)
LANGUAGE plpgsql AS $$
DECLARE
    length interval := make_interval(secs => its_lease);
BEGIN
    moment := hoox.now_1();
    timeline := hoox.timeline_1();
    IF its_timeline IS NULL THEN -- it begins: rarely, so a good moment to forget those that were killed long ago
        DELETE FROM hoox.members m WHERE m.expires_at NOT BETWEEN moment - interval '1 day'
            AND moment + 2 * m.lease + interval '1 day';
    END IF;
    INSERT INTO hoox.members AS m (id, host, pid, lease, expires_at, steady_since, timeline)
    VALUES (me, its_host, its_pid, length, moment + length, moment, coalesce(its_timeline, timeline))
    ON CONFLICT (id) DO UPDATE SET
        expires_at = moment + length,
        -- in time is within half a lease, since it is renewed every third of one
        steady_since = CASE
            WHEN m.expires_at BETWEEN moment + length / 2 AND moment + 2 * length
                AND m.timeline = EXCLUDED.timeline
                THEN least(m.steady_since, moment)
            ELSE moment
        END,
        timeline = EXCLUDED.timeline;
END $$;

CREATE FUNCTION hoox.is_alive_1(member text) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM hoox.members m, (SELECT hoox.now_1()) AS clock (moment)
        WHERE m.id = $1 AND m.expires_at > moment AND m.expires_at <= moment + 2 * m.lease
            AND m.timeline = hoox.timeline_1()
    )
$$;

-- Whether this member may take others for dead: it has renewed in time for one lease, so every member that
-- is alive had the time to do so too, also after the database was gone for a while or its clock was set.
CREATE FUNCTION hoox.may_sweep_1(me text, lease double precision) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM hoox.members m, (SELECT hoox.now_1(), make_interval(secs => $2)) AS clock (moment, length)
        WHERE m.id = me
            AND m.expires_at BETWEEN moment + length / 2 AND moment + 2 * length
            AND m.steady_since + length <= moment
            AND m.timeline = hoox.timeline_1()
    )
$$;
