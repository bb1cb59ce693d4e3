"""The table of orders: what a customer ordered, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from hoox_async import Look, LookEdit, LookRef, LookStatus

MOST_COUNTED = 1000  # so that an order costs the same however many wait


class Order(NamedTuple):
    """One row. The id is the key of the look: whoever submits it again gets the same look, paid once."""

    id: str
    customer: str
    source: str
    prompt: str
    traceparent: str | None = None
    state: str = "queued"
    look: str | None = None
    picture: str | None = None
    credits: Decimal | None = None
    reason: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("ready", "failed", "refused")

    def edit(self) -> LookEdit:
        """What is asked of the API. It must come out the same each time: the same key, the same content."""
        metadata = {"customer": self.customer, "order": self.id}
        if self.traceparent:
            metadata["traceparent"] = self.traceparent
        return LookEdit(LookRef.parse(self.source), self.prompt, metadata=metadata)


class OrderConflict(Exception):
    """There is another order of this id."""


class Orders:
    """Reads and writes orders. Every change may be said twice, and a settled order stays as it is."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def add(self, order: Order, connection: Any) -> bool:
        """Add a new order in the caller's transaction. False if there is this order already.

        Raises `OrderConflict` if there is another one of this id.
        """
        done = await connection.execute(
            "INSERT INTO orders (id, customer, source, prompt, traceparent) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            order[:5],
        )
        if done.rowcount:
            return True
        found = await connection.execute(
            "SELECT customer, source, prompt FROM orders WHERE id = %s", (order.id,)
        )
        if await found.fetchone() != order[1:4]:
            raise OrderConflict(order.id)
        return False

    async def get(self, order_id: str) -> Order | None:
        """The order of this id."""
        columns = ", ".join(Order._fields)
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Order))
            await cursor.execute(f"SELECT {columns} FROM orders WHERE id = %s", (order_id,))
            return await cursor.fetchone()

    async def queued(self, connection: Any) -> int:
        """How many orders wait to be sent; those beyond `MOST_COUNTED` are not counted."""
        found = await connection.execute(
            "SELECT count(*) FROM (SELECT FROM orders WHERE state = 'queued' LIMIT %s) AS counted",
            (MOST_COUNTED,),
        )
        row = await found.fetchone()
        return row[0] if row else 0

    async def has_failed(self, look: str) -> bool:
        """Whether an order's look is this one, and could not be made."""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT FROM orders WHERE look = %s AND state = 'failed'", (look,)
            )
            return await found.fetchone() is not None

    async def traceparents(self, looks: Sequence[LookRef]) -> list[str]:
        """The trace contexts of the orders that these looks were made for."""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT traceparent FROM orders WHERE look = ANY(%s) AND traceparent IS NOT NULL",
                ([str(look) for look in looks],),
            )
            return [row[0] for row in await found.fetchall()]

    async def cap_of(self, customer: str) -> Decimal | None:
        """The credits that this customer may spend; None for what all may."""
        async with self._pool.connection() as connection:
            found = await connection.execute("SELECT credits FROM customers WHERE name = %s", (customer,))
            row = await found.fetchone()
            return row[0] if row else None

    async def accepted(self, order_id: str, ref: LookRef, credits: Decimal) -> None:
        """It is paid for."""
        await self._change(order_id, state="accepted", look=str(ref), credits=credits, reason=None)

    async def settled(self, order_id: str, look: Look) -> None:
        """Its look is ready, or it could not be made."""
        state = "ready" if look.status is LookStatus.READY else "failed"
        reason = None if look.error is None else look.error.message
        await self._change(
            order_id, state=state, look=str(look.ref), picture=look.thumbnail_url, reason=reason
        )

    async def refused(self, order_id: str, reason: str) -> None:
        """It cost nothing, and would be refused again."""
        await self._change(order_id, state="refused", reason=reason)

    async def unknown(self, order_id: str, reason: str) -> None:
        """It may have been paid for. A webhook may settle it yet, which can have come already."""
        await self._change(order_id, only_if="queued", state="unknown", reason=reason)

    async def unsaved(self, count: int) -> list[tuple[str, str, str]]:
        """Ready orders whose picture is not saved yet, in any order: their ids, looks and pictures' URLs."""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT id, look, picture FROM orders WHERE state = 'ready' AND NOT saved "
                "AND picture IS NOT NULL ORDER BY random() LIMIT %s",
                (count,),
            )
            return await found.fetchall()

    async def saved(self, order_id: str) -> None:
        """Its picture is saved."""
        async with self._pool.connection() as connection:
            await connection.execute("UPDATE orders SET saved = true WHERE id = %s", (order_id,))

    async def _change(self, order_id: str, *, only_if: str | None = None, **values: Any) -> None:
        columns = ", ".join(f"{name} = %({name})s" for name in values)
        async with self._pool.connection() as connection:
            await connection.execute(
                f"UPDATE orders SET {columns}, changed_at = now() WHERE id = %(id)s "
                "AND state NOT IN ('ready', 'failed', 'refused') "
                "AND (%(only_if)s::text IS NULL OR state = %(only_if)s)",
                {"id": order_id, "only_if": only_if, **values},
            )
