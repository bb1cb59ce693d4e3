-- The shop's own tables. The tables of hoox_async and of Procrastinate are made by their own migrations.
CREATE TABLE IF NOT EXISTS orders (
    id text PRIMARY KEY,
    customer text NOT NULL,
    source text NOT NULL,
    prompt text NOT NULL,
    traceparent text, -- of the request that ordered it
    state text NOT NULL DEFAULT 'queued' CHECK (
        state IN ('queued', 'accepted', 'ready', 'failed', 'refused', 'unknown')
    ),
    look text,
    picture text,
    saved boolean NOT NULL DEFAULT false, -- the picture is on our disk
    credits numeric,
    reason text,
    ordered_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS orders_look ON orders (look);
CREATE INDEX IF NOT EXISTS orders_state ON orders (state) WHERE state NOT IN ('ready', 'failed', 'refused');

CREATE INDEX IF NOT EXISTS orders_unsaved ON orders (ordered_at) WHERE state = 'ready' AND NOT saved;

-- Customers who may spend another number of credits than all others.
CREATE TABLE IF NOT EXISTS customers (
    name text PRIMARY KEY,
    credits numeric NOT NULL CHECK (credits > 0)
);
