"""The tables of the ledger, once for both databases. ``hoox.`` stands for the schema that the user chose.

Credits are millionths in whole numbers, so that both databases can add them; times are microseconds since
1970. The feed of changes goes by ``changed_in`` and ``kept_in``: only PostgreSQL has other processes.
"""

from __future__ import annotations

OPEN = "('planned', 'sending', 'unknown', 'accepted')"

OWES = (
    "teller IS NOT NULL AND state IN ('ready', 'failed') AND coalesce(notified, '') <> coalesce(look_id, '')"
)
"""A row whose round has ended, which no hooks were told of."""

TABLES = (
    # The salt of all fingerprints of API keys, one row: a key that several workspaces have is recognised.
    "CREATE TABLE hoox.key_salt (id integer PRIMARY KEY CHECK (id = 1), salt text NOT NULL)",
    """
    CREATE TABLE hoox.workspaces (
        id {identity},
        name text NOT NULL UNIQUE,
        base_url text NOT NULL,
        fingerprint text NOT NULL,
        older_fingerprint text,
        key_confirmed integer NOT NULL DEFAULT 0
    )
    """,
    # One row for each open database object of a process. It is alive until expires_at: see `statements`.
    """
    CREATE TABLE hoox.members (
        id text PRIMARY KEY,
        host text NOT NULL,
        pid integer NOT NULL,
        lease bigint NOT NULL,
        expires_at bigint NOT NULL,
        steady_since bigint NOT NULL,
        timeline text NOT NULL
    )
    """,
    # version is moved by every write, also by one that changes nothing else. member is who sent it last.
    # teller is the member that owes hooks the news of the round's end, '' where its session was closed;
    # notified is the look that they were told of, or whose news nobody owed when the next round began.
    # listed_at is the last place in listed at the round's first SENDING that may have cost something;
    # NULL: not known.
    """
    CREATE TABLE hoox.intents (
        seq {identity},
        workspace bigint NOT NULL REFERENCES hoox.workspaces,
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
        changed_in {xid_type} NOT NULL,
        changed_by text NOT NULL,
        listed_at bigint,
        CONSTRAINT intents_key UNIQUE (workspace, key)
    )
    """,
    """
    CREATE UNIQUE INDEX intents_look ON hoox.intents (workspace, avatar_id, look_id)
        WHERE look_id IS NOT NULL
    """,
    "CREATE INDEX intents_page ON hoox.intents (workspace, seq)",
    f"CREATE INDEX intents_open ON hoox.intents (workspace, seq) WHERE state IN {OPEN}",
    f"CREATE INDEX intents_owing ON hoox.intents (workspace, seq) WHERE {OWES}",
    """
    CREATE TABLE hoox.attempts (
        workspace bigint NOT NULL,
        id text NOT NULL,
        intent bigint NOT NULL REFERENCES hoox.intents,
        sent_at bigint NOT NULL,
        PRIMARY KEY (workspace, id)
    )
    """,
    "CREATE INDEX attempts_intent ON hoox.attempts (intent)",
    "CREATE INDEX attempts_sent_at ON hoox.attempts (workspace, sent_at)",
    "CREATE TABLE hoox.sends (workspace bigint NOT NULL, sent_at bigint NOT NULL)",  # of GET requests
    "CREATE INDEX sends_sent_at ON hoox.sends (workspace, sent_at)",
    """
    CREATE TABLE hoox.claimed (
        workspace bigint NOT NULL,
        avatar_id text NOT NULL,
        look_id text NOT NULL,
        PRIMARY KEY (workspace, avatar_id, look_id)
    )
    """,
    # Looks that full answers about their avatars have listed, and that no intent had claimed by then, in the
    # order in which they were written; and the avatars themselves, with an empty look_id.
    """
    CREATE TABLE hoox.listed (
        workspace bigint NOT NULL,
        avatar_id text NOT NULL,
        look_id text NOT NULL,
        place bigint NOT NULL,
        PRIMARY KEY (workspace, avatar_id, look_id)
    )
    """,
    "CREATE INDEX listed_place ON hoox.listed (workspace, place)",
    """
    CREATE TABLE hoox.deliveries (
        workspace bigint NOT NULL,
        attempt text NOT NULL,
        look_id text NOT NULL,
        record text NOT NULL,
        kept_by text NOT NULL,
        kept_in {xid_type} NOT NULL,
        PRIMARY KEY (workspace, attempt)
    )
    """,
    "CREATE INDEX deliveries_look ON hoox.deliveries (workspace, look_id)",
    # initial is NULL until somebody opens it: a write that a failover had lost charges it, and nothing fits
    """
    CREATE TABLE hoox.budgets (
        workspace bigint NOT NULL,
        name text NOT NULL,
        max_credits bigint NOT NULL,
        charged bigint NOT NULL,
        initial bigint,
        PRIMARY KEY (workspace, name)
    )
    """,
    # Of `store copy`. made_by is the copy that made this workspace, and place how far it has come, '' once it
    # is whole; moved_by is the copy that another store (moved_to) was made with, and handed_over says that
    # it is whole: then that one goes on, and this one is not opened.
    """
    CREATE TABLE hoox.copies (
        workspace bigint PRIMARY KEY REFERENCES hoox.workspaces,
        made_by text,
        place text NOT NULL DEFAULT '',
        moved_by text,
        moved_to text,
        handed_over integer NOT NULL DEFAULT 0
    )
    """,
)

SHARED_TABLES = (
    "CREATE INDEX intents_sending ON hoox.intents (workspace) WHERE state = 'sending'",
    "CREATE INDEX intents_changed ON hoox.intents (changed_in, seq)",
    "CREATE INDEX attempts_id ON hoox.attempts (id)",  # a delivery names its attempt alone
    "CREATE INDEX deliveries_kept ON hoox.deliveries (kept_in)",
    """
    CREATE TABLE hoox.leaders (
        workspace bigint PRIMARY KEY REFERENCES hoox.workspaces,
        member text NOT NULL
    )
    """,
)
"""Besides, where several processes use it."""
