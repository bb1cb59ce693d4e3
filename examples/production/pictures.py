"""``python -m production.pictures``: saves the pictures of ready orders in ``SHOP_PICTURES``, until SIGTERM.

Hoox's URLs of pictures need not last. One such process is enough, on the machine that has the disk.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress

import psycopg
from psycopg_pool import PoolTimeout

from hoox_async import HooxError, Look, LookRef, LookStatus

from .probes import serve_probes
from .settings import read_settings
from .shop import Shop, open_shop

AT_ONCE = 20
PAUSE = 5.0  # seconds until new orders are looked for, and until what has failed is tried again
log = logging.getLogger("shop")


async def save_pictures(shop: Shop) -> None:
    """Save some that are not saved yet. One that can't be had holds up no other, but a full disk does."""
    for order_id, look, picture in await shop.orders.unsaved(AT_ONCE):
        ready = Look(LookRef.parse(look), LookStatus.READY, picture)
        try:
            await shop.session.download(ready, shop.settings.pictures, overwrite=True)
        except HooxError as error:
            log.warning("the picture of %s: %s", order_id, error)
            continue
        await shop.orders.saved(order_id)


async def work() -> None:
    """Save pictures until cancelled. What fails is tried again."""
    settings = read_settings()
    async with (
        open_shop(settings, poll="awaited") as shop,
        serve_probes(shop.session, settings.probe_host, settings.probe_port),
    ):
        while True:
            try:
                await save_pictures(shop)
            except (OSError, psycopg.Error, PoolTimeout) as error:
                log.warning("pictures are saved later: %s", error)
            await asyncio.sleep(PAUSE)


async def main() -> int:
    """Run it. Returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    working = asyncio.create_task(work())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    with suppress(asyncio.CancelledError):
        await working
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
