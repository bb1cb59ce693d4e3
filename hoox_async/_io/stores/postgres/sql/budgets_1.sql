-- Named budgets. What they have charged changes in the transaction that writes an intent: see put_1.

CREATE TABLE hoox.budgets (
    workspace bigint NOT NULL REFERENCES hoox.workspaces,
    name text NOT NULL,
    max_credits numeric NOT NULL,
    charged numeric NOT NULL,
    PRIMARY KEY (workspace, name)
);

-- Creates the budget unless there is one of this name. Returns what is stored.
CREATE FUNCTION hoox.open_budget_1(
    in_workspace bigint, its_name text, INOUT cap numeric, INOUT spent numeric
)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hoox.budgets (workspace, name, max_credits, charged) VALUES (in_workspace, its_name, cap, spent)
    ON CONFLICT DO NOTHING;
    SELECT b.max_credits, b.charged INTO cap, spent
    FROM hoox.budgets b WHERE b.workspace = in_workspace AND b.name = its_name;
END $$;
