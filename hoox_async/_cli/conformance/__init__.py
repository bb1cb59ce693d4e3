"""``check --conformance``: proves this library against the real API, at no cost.

It does what a user would do, by an ordinary session: an avatar from images, which costs no credits, then
every kind of read, and a delivery where it can be reached. What came is compared with each fact that the
vendor's pages leave open, and the report can be sent to us by anybody: nothing in it is secret.

**Where the raw answers come from.** Models hold what this library understands, and hooks only how an answer
ended; the report needs what it may not understand: headers, unknown fields, refusals of an unknown form. So
the session has a `RecordingTransport` (`hoox_async.testing`): it is the transport of every session, and keeps
each answer besides. Requests that were sent beside the session would prove nothing about it, and a hook that
is given each body would cost all users. Only the request with a wrong API key is sent without a session,
since a session checks a refused key for a minute.

**Why there is no secret in it.** Values of answers are never copied into the report: `shapes` lets through
names of fields, kinds of values, status words and error codes alone. `observations` are plain values,
`facts` and `quota_facts` judge them without I/O, `steps` and `receiver` do what is to be done, and `command`
asks and prints. `options` is apart, because the command line needs it at each start.
"""
