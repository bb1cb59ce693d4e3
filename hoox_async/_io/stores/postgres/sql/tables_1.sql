-- The tables of the shared store. "hoox" stands for the schema that the user chose.

CREATE TABLE hoox.schema_versions (
    version integer PRIMARY KEY,
    minimum_client integer NOT NULL, -- a release that knows no version from this one on is refused
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The salt of all fingerprints of API keys, one row: a key that several workspaces have is recognised.
CREATE TABLE hoox.key_salt (salt bytea NOT NULL);
INSERT INTO hoox.key_salt
    SELECT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

CREATE TABLE hoox.workspaces (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    base_url text NOT NULL,
    fingerprints bytea[] NOT NULL, -- of the API keys that are valid, the newest first: two during a rotation
    key_confirmed boolean NOT NULL DEFAULT false, -- an answer has shown that the newest key is valid
    CHECK (cardinality(fingerprints) BETWEEN 1 AND 2)
);

-- One row for each open database object of a process. It is alive until expires_at: see is_alive_1.
CREATE TABLE hoox.members (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    lease interval NOT NULL,
    expires_at timestamptz NOT NULL,
    steady_since timestamptz NOT NULL, -- it has renewed its lease in time since then
    timeline text NOT NULL DEFAULT hoox.timeline_1() -- on which it has its writes: on another one it is not alive
);

CREATE TABLE hoox.intents (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace bigint NOT NULL REFERENCES hoox.workspaces,
    key text NOT NULL CHECK (octet_length(key) <= 512),
    state text NOT NULL,
    version bigint NOT NULL, -- moved by every write, also by one that changes nothing else
    member text, -- who sent it last
    notified boolean NOT NULL DEFAULT true, -- its look is not settled, or hooks were told of that
    avatar_id text,
    look_id text,
    record text NOT NULL,
    crc bigint NOT NULL,
    changed_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    changed_by text NOT NULL,
    CONSTRAINT intents_key UNIQUE (workspace, key)
);
CREATE UNIQUE INDEX intents_look ON hoox.intents (workspace, avatar_id, look_id) WHERE look_id IS NOT NULL;
CREATE INDEX intents_page ON hoox.intents (workspace, seq);
CREATE INDEX intents_open ON hoox.intents (workspace, seq)
    WHERE state IN ('planned', 'sending', 'unknown', 'accepted');
CREATE INDEX intents_sending ON hoox.intents (workspace) WHERE state = 'sending';
CREATE INDEX intents_unnotified ON hoox.intents (workspace) WHERE NOT notified;
CREATE INDEX intents_changed ON hoox.intents (changed_in, seq);

CREATE TABLE hoox.attempts (
    workspace bigint NOT NULL,
    id text NOT NULL,
    intent bigint NOT NULL REFERENCES hoox.intents,
    sent_at timestamptz NOT NULL,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX attempts_id ON hoox.attempts (id); -- a delivery names its attempt alone
CREATE INDEX attempts_intent ON hoox.attempts (intent);
CREATE INDEX attempts_sent_at ON hoox.attempts (workspace, sent_at);

CREATE TABLE hoox.claimed (
    workspace bigint NOT NULL REFERENCES hoox.workspaces,
    avatar_id text NOT NULL,
    look_id text NOT NULL,
    PRIMARY KEY (workspace, avatar_id, look_id)
);

CREATE TABLE hoox.deliveries (
    workspace bigint NOT NULL,
    attempt text NOT NULL,
    record text NOT NULL,
    kept_by text NOT NULL,
    kept_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (workspace, attempt),
    FOREIGN KEY (workspace, attempt) REFERENCES hoox.attempts
);
CREATE INDEX deliveries_kept ON hoox.deliveries (kept_in);
