-- Writes an intent and its indexes if its row still has the version `was`; 0: if there is no row yet.
--
-- Everything is written, or nothing. The outcome is one of:
--   written    the row has the next version
--   stale      the row has another version, or exists already
--   taken      `taken_key` is the key of the intent that has the look `taken_avatar`, `taken_look` already
--   not_alive  it sends, and the lease of `me` is over
--   alive      `of_the_dead`, and the lease of who sent it is not over, or `me` may not sweep
--   held       it gives other content to what another living member is about to send again
--   over       it sends, and the change would exceed the cap of the budget `budget_name`
CREATE FUNCTION hoox.put_1(
    me text,
    in_workspace bigint,
    its_key text,
    was bigint,
    new_state text,
    new_avatar text,
    new_look text,
    new_record text,
    new_crc bigint,
    attempt_ids text[],
    attempt_times timestamptz[],
    claimed_avatars text[],
    claimed_looks text[],
    extra_avatars text[],
    extra_looks text[],
    budget_names text[],
    budget_changes numeric[],
    replaces boolean, -- it gives other content to an intent that was not sent, or has ended
    of_the_dead double precision, -- the lease of `me`, where it takes the sender for dead; else NULL
    lost_version bigint, -- the version that the write had before a failover has lost it; else NULL
    OUT outcome text,
    OUT taken_key text,
    OUT taken_avatar text,
    OUT taken_look text,
    OUT budget_name text,
    OUT budget_cap numeric,
    OUT budget_charged numeric,
    OUT budget_change numeric
)
LANGUAGE plpgsql AS $$
DECLARE
    row_seq bigint;
    sends boolean := cardinality(attempt_ids) > 0;
BEGIN
    SELECT i.key, i.avatar_id, i.look_id INTO taken_key, taken_avatar, taken_look
    FROM hoox.intents i
    JOIN (
        SELECT * FROM unnest(claimed_avatars, claimed_looks)
        UNION SELECT new_avatar, new_look WHERE new_look IS NOT NULL
    ) AS claim (avatar_id, look_id) USING (avatar_id, look_id)
    WHERE i.workspace = in_workspace AND i.key <> its_key
    LIMIT 1;
    IF FOUND THEN outcome := 'taken'; RETURN; END IF;

    IF new_state = 'sending' AND sends AND NOT hoox.is_alive_1(me) THEN outcome := 'not_alive'; RETURN; END IF;

    -- What was decided from another version is no reason to refuse it for good.
    IF sends AND was <> coalesce(
        (SELECT i.version FROM hoox.intents i WHERE i.workspace = in_workspace AND i.key = its_key), 0
    ) THEN outcome := 'stale'; RETURN; END IF;

    IF replaces AND EXISTS (
        SELECT FROM hoox.intents i
        WHERE i.workspace = in_workspace AND i.key = its_key AND i.state = 'planned'
            AND i.member <> me AND hoox.is_alive_1(i.member)
    ) THEN outcome := 'held'; RETURN; END IF;

    IF lost_version IS NOT NULL THEN -- a budget may be lost too: whoever knows its cap opens it again
        INSERT INTO hoox.budgets (workspace, name, max_credits, charged)
            SELECT in_workspace, c.name, 0, 0 FROM unnest(budget_names) AS c (name) ORDER BY 2
            ON CONFLICT DO NOTHING;
    END IF;

    -- Before the intent's row is written, and in the order of names: so no two writes wait for each other.
    PERFORM FROM hoox.budgets b
    WHERE b.workspace = in_workspace AND b.name = ANY(budget_names) ORDER BY b.name FOR UPDATE;
    IF sends AND lost_version IS NULL THEN -- what was paid before the failover is charged whatever the cap is
        SELECT c.name, coalesce(b.max_credits, 0), coalesce(b.charged, 0), c.change
        INTO budget_name, budget_cap, budget_charged, budget_change
        FROM unnest(budget_names, budget_changes) AS c (name, change)
        LEFT JOIN hoox.budgets b ON b.workspace = in_workspace AND b.name = c.name
        WHERE c.change > 0 AND coalesce(b.charged + c.change > b.max_credits, true)
        LIMIT 1;
        IF FOUND THEN outcome := 'over'; RETURN; END IF;
    END IF;

    IF was = 0 THEN
        INSERT INTO hoox.intents AS i
            (workspace, key, state, version, member, avatar_id, look_id, record, crc, changed_by)
        VALUES (in_workspace, its_key, new_state, coalesce(lost_version, 1), CASE WHEN sends THEN me END,
            new_avatar, new_look, new_record, new_crc, me)
        ON CONFLICT ON CONSTRAINT intents_key DO NOTHING
        RETURNING i.seq INTO row_seq;
    ELSE
        UPDATE hoox.intents i SET
            state = new_state, version = coalesce(lost_version, was + 1),
            member = CASE WHEN sends THEN me ELSE i.member END,
            avatar_id = new_avatar, look_id = new_look, record = new_record, crc = new_crc,
            notified = CASE
                WHEN new_state IN ('ready', 'failed') AND i.state NOT IN ('ready', 'failed') THEN false
                ELSE i.notified
            END,
            changed_in = pg_current_xact_id(), changed_by = me
        WHERE i.workspace = in_workspace AND i.key = its_key AND i.version = was
            AND (of_the_dead IS NULL
                OR hoox.may_sweep_1(me, of_the_dead) AND i.state = 'sending' AND NOT hoox.is_alive_1(i.member))
        RETURNING i.seq INTO row_seq;
    END IF;
    IF row_seq IS NULL THEN
        outcome := CASE WHEN of_the_dead IS NULL THEN 'stale' ELSE 'alive' END;
        RETURN;
    END IF;

    UPDATE hoox.budgets b SET charged = b.charged + c.change
        FROM unnest(budget_names, budget_changes) AS c (name, change)
        WHERE b.workspace = in_workspace AND b.name = c.name;
    INSERT INTO hoox.attempts (workspace, id, intent, sent_at)
        SELECT in_workspace, a.id, row_seq, a.sent_at FROM unnest(attempt_ids, attempt_times) AS a (id, sent_at);
    INSERT INTO hoox.claimed (workspace, avatar_id, look_id)
        SELECT in_workspace, c.avatar_id, c.look_id
        FROM unnest(claimed_avatars || extra_avatars, claimed_looks || extra_looks) AS c (avatar_id, look_id)
        ORDER BY 2, 3
        ON CONFLICT DO NOTHING;
    outcome := 'written';
END $$;
