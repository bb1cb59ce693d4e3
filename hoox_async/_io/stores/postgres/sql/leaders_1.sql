-- Which member polls a workspace, and which settled looks no hook was told of.

-- The leader of a workspace polls its looks for all processes, as long as its lease as a member lasts. Two leaders
-- for a moment cost requests, never truth.
CREATE TABLE hoox.leaders (
    workspace bigint PRIMARY KEY REFERENCES hoox.workspaces,
    member text NOT NULL
);

-- Make `me` the leader of those of its `candidates` that have no living leader. Returns the living leader of each
-- of the candidates and of the workspaces that are only `watched`; NULL: there is none.
CREATE FUNCTION hoox.lead_1(me text, candidates bigint[], watched bigint[])
RETURNS TABLE (led bigint, leader text)
LANGUAGE plpgsql AS $$
BEGIN
    IF hoox.is_alive_1(me) THEN
        INSERT INTO hoox.leaders AS l (workspace, member)
            SELECT c.workspace, me FROM unnest(candidates) AS c (workspace)
            WHERE NOT EXISTS (
                SELECT FROM hoox.leaders o WHERE o.workspace = c.workspace AND hoox.is_alive_1(o.member)
            )
            ORDER BY 1
            ON CONFLICT (workspace) DO UPDATE SET member = me WHERE NOT hoox.is_alive_1(l.member);
    END IF;
    RETURN QUERY
        SELECT w.workspace, l.member FROM unnest(candidates || watched) AS w (workspace)
        LEFT JOIN hoox.leaders l ON l.workspace = w.workspace AND hoox.is_alive_1(l.member);
END $$;
