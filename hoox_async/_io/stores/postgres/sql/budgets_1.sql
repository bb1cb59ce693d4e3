-- Named budgets. What they have charged changes in the transaction that writes an intent: see put_1.

CREATE TABLE hoox.budgets (
    workspace bigint NOT NULL REFERENCES hoox.workspaces,
    name text NOT NULL,
    max_credits numeric NOT NULL,
    charged numeric NOT NULL,
    initial numeric, -- charged when it was created; NULL: a write that a failover had lost charges it, and
                     -- nobody has opened it since, so that its cap is not known and nothing fits
    PRIMARY KEY (workspace, name)
);

-- Creates the budget unless there is one of this name. Returns what is stored.
CREATE FUNCTION hoox.open_budget_1(
    in_workspace bigint, its_name text, INOUT cap numeric, INOUT spent numeric, OUT began_with numeric
)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hoox.budgets AS b (workspace, name, max_credits, charged, initial)
    VALUES (in_workspace, its_name, cap, spent, spent)
    ON CONFLICT (workspace, name) DO UPDATE SET
        max_credits = excluded.max_credits, charged = b.charged + excluded.initial, initial = excluded.initial
    WHERE b.initial IS NULL;
    SELECT b.max_credits, b.charged, b.initial INTO cap, spent, began_with
    FROM hoox.budgets b WHERE b.workspace = in_workspace AND b.name = its_name;
END $$;
