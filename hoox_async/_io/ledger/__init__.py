"""The ledger: one set of statements for all databases.

`ledger` decides and `statements` has the SQL; an engine runs both: `sqlite` a file, or memory where there is
no store, `postgres` a database that many processes use. What only many processes need is in `member` (lease
and sweep), `change_feed`, `leaders`, `failover` and `postgres_permits`; `database` is what users open.
`offline` is a ledger without a session, which `maintenance` works on. Only modules named after PostgreSQL
know psycopg.

What a death leaves behind, and who mends it when. "Lease" is `PostgresDatabase`'s, ten seconds by default,
and "the others" are the processes that have the same workspace open:

=====================================  ====================  ==============================================
what happens to a process              what stands           who mends it, and when
=====================================  ====================  ==============================================
killed before SENDING is written       PLANNED               whoever submits the key next sends it, at once
killed after that, nothing was sent    SENDING               the others mark it UNKNOWN once the lease is
                                                             over; a person decides, as nobody knows that
                                                             nothing was paid
killed while the POST is outstanding,  SENDING               the same; with webhooks the look's delivery to
or before its answer is written                              any process settles it without a person
killed once the answer is written      ACCEPTED              the others poll it: a new leader within a
                                                             lease and a fifth of one; then it is READY
stopped for longer than its lease,     UNKNOWN for others    itself: its answer still counts when it goes
and goes on                                                  on, and its next renewal revives its lease
cut off from the database              what was committed    itself: it sends nothing meanwhile, keeps the
                                                             answers and writes them once it is connected;
                                                             the others mark it UNKNOWN after the lease
a write whose answer is lost           either                itself: by a second write, before it goes on
                                                             with that key
its connections are all in use, or     what was committed    nobody: statements wait, 10 s at most; the
the server refuses it another one                            lease has a connection of its own, or takes one
                                                             of the others
closed while a POST is outstanding     SENDING, then paid    itself: closing waits for the answer
=====================================  ====================  ==============================================

=====================================  ====================  ==============================================
what happens to the server             what stands           who mends it, and when
=====================================  ====================  ==============================================
restarted, also by a crash             what was committed    each process connects again; nobody is taken
                                                             for dead before it had a lease's time for that
its commits hang, as those without     what was committed    each process: it has the server cancel what
their synchronous standby do                                 takes longer than 10 s, sends nothing, and
                                                             writes again; no connections pile up
its disk is full (SQLSTATE 53100)      what was committed    nothing is sent; answers are kept in memory
                                                             and written once there is space
failed over to a replica that lacks    an older state        each process: it sees the other timeline with
acknowledged writes                                          its next renewal (a third of a lease), sends
                                                             nothing for a minute and writes again what it
                                                             wrote in the last ten. No permit is granted
                                                             until those of before count no more: a minute
                                                             and their hold, 103 s by default. What
                                                             processes wrote that are dead by then is lost,
                                                             as with a restored backup
its clock is set, by whatever          what was committed    permits go on by the time that the processes
                                                             have measured; each lease is renewed before
                                                             anybody is taken for dead, and the dead are
                                                             found within two leases
many processes start at once           nothing               the first one makes the tables, the others wait
=====================================  ====================  ==============================================

Tested by ``tests/test_deaths.py``, ``tests/stores/test_postgres_failover.py`` and, for each await point in
virtual time, ``tests/session/test_every_await_point.py``.
"""
