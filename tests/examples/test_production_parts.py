"""Parts of `examples/production` on their own: traces, settings, the manifest's promises."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from hoox_async import (
    Answered,
    AuthenticationError,
    BadRequest,
    Conflict,
    Endpoint,
    HooxError,
    HooxSession,
    InsufficientCredits,
    Look,
    LookRef,
    LookSettled,
    LookStatus,
    NotFound,
    NotSent,
    PermissionDenied,
    SessionHealth,
    StoreError,
    TransportError,
    Trouble,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.insert(0, str(EXAMPLES))

pytest.importorskip("procrastinate")
from production import telemetry as telemetry_module  # noqa: E402
from production.engine import WhateverFails, is_final, make_engine, submit  # noqa: E402
from production.migrate import migrate  # noqa: E402
from production.orders import Order, Orders  # noqa: E402
from production.pictures import save_pictures  # noqa: E402
from production.probes import serve_probes  # noqa: E402
from production.settings import CONNECTIONS, Settings, read_settings  # noqa: E402
from production.shop import Shop, make_pool  # noqa: E402
from production.telemetry import Telemetry  # noqa: E402
from production.worker import main as worker_main  # noqa: E402
from production.worker import stop_on_failures  # noqa: E402

SOURCE = "avtr_a:look_1"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of a `Telemetry` go that is made afterwards."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


class OrdersOfLooks(Orders):
    """Knows of orders no more than which trace each look's order belongs to."""

    def __init__(self, of_looks: Mapping[LookRef, str | None]) -> None:
        self.of_looks = of_looks

    async def traceparents(self, looks: Sequence[LookRef]) -> list[str]:
        return [parent for look in looks if (parent := self.of_looks.get(look))]


def test_spans_of_an_order_are_one_trace(exporter: InMemorySpanExporter) -> None:
    """Taking an order, work on it, its POST, and its settlement in another process are one trace.

    The POST links to the worker's span, the settlement to the order's. A status request of nobody's order is
    a trace of its own.
    """
    web, worker, other = (Telemetry(OrdersOfLooks({})) for _ in range(3))
    with web.ordering() as traceparent:
        order = Order("order-1", "ada", SOURCE, "on stage", traceparent)
    with worker.work_on(order):
        worker(Answered(Endpoint.EDIT, 201, 0.5, "order-1"))
    other(Answered(Endpoint.AVATAR, 200, 0.5))
    look = Look(LookRef("avtr_a", "look_2"), LookStatus.READY, "https://cdn.example/1.jpg")
    other(LookSettled(look, "order-1", 40.0, order.edit().metadata))
    spans: dict[str, ReadableSpan] = {span.name: span for span in exporter.get_finished_spans()}
    traces = {name: span.get_span_context().trace_id for name, span in spans.items()}  # type: ignore[union-attr]
    polled = traces.pop(f"hoox {Endpoint.AVATAR}")
    assert set(traces) == {"take order", "make look", f"hoox {Endpoint.EDIT}", "hoox look"}
    assert len(set(traces.values())) == 1
    assert polled not in traces.values()
    for linked, to in (("hoox look", "take order"), (f"hoox {Endpoint.EDIT}", "make look")):
        [link] = spans[linked].links
        assert link.context.span_id == spans[to].get_span_context().span_id  # type: ignore[union-attr]


async def test_a_status_request_links_to_the_orders_that_it_was_sent_for(
    exporter: InMemorySpanExporter,
) -> None:
    """The span of a status request is a trace of its own and links to the order of each look it asked for.

    It ends when the answer came. A look whose order is not known, or was not traced, is no link.
    """
    first, second, untraced, foreign = looks = tuple(LookRef("avtr_a", f"look_{n}") for n in range(4))
    parents: dict[LookRef, str | None] = {untraced: None}
    telemetry = Telemetry(OrdersOfLooks(parents))
    for look in (first, second):
        with telemetry.ordering() as parents[look]:
            pass
    linking = telemetry(Answered(Endpoint.AVATAR, 200, 0.5, looks=looks))
    assert linking is not None
    await linking
    *orders, polled = exporter.get_finished_spans()
    assert foreign not in parents
    assert polled.parent is None
    ordered = [span.get_span_context() for span in orders]
    assert [(link.context.trace_id, link.context.span_id) for link in polled.links] == [
        (order.trace_id, order.span_id) for order in ordered if order is not None
    ]
    assert polled.end_time is not None
    assert polled.start_time is not None
    assert polled.end_time - polled.start_time == pytest.approx(0.5e9)


def test_without_an_exporter_no_orders_are_read_for_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that records no spans asks the database for no trace."""
    monkeypatch.setattr(trace, "get_tracer", trace.NoOpTracerProvider().get_tracer)
    telemetry = Telemetry(OrdersOfLooks({}))
    assert telemetry(Answered(Endpoint.AVATAR, 200, 0.5, looks=(LookRef("avtr_a", "look_1"),))) is None


async def test_trouble_is_a_gauge_and_two_lines_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each word is a gauge, 1 while it lasts, else 0. The log says once that it begins, and that it ends."""
    reader = InMemoryMetricReader()
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([reader]).get_meter)
    monkeypatch.setattr(telemetry_module, "EVERY", 0.0)
    telemetry, session = Telemetry(OrdersOfLooks({})), TroubledSession()

    def gauges() -> dict[str, int]:
        [of_resource] = reader.get_metrics_data().resource_metrics  # type: ignore[union-attr]
        [of_meter] = of_resource.scope_metrics
        [gauge] = [each for each in of_meter.metrics if each.name == "hoox.trouble"]
        return {str(point.attributes["trouble"]): point.value for point in gauge.data.data_points}  # type: ignore

    async with telemetry.gauges_of(session):  # type: ignore[arg-type]
        for trouble in (frozenset({Trouble.NO_CREDITS}), frozenset()):
            session.trouble = trouble
            session.was_read.clear()
            for _ in range(2):
                await session.was_read.wait()
                session.was_read.clear()
            assert gauges() == {word: int(word in trouble) for word in Trouble}
    assert caplog.messages == ["trouble: no_credits (see the runbook)", "trouble is over: no_credits"]


class TroubledSession:
    """A session in place of a real one, with this trouble."""

    def __init__(self) -> None:
        self.trouble: frozenset[Trouble] = frozenset()
        self.was_read = asyncio.Event()

    async def health(self) -> Any:
        self.was_read.set()
        values = dict.fromkeys(attrs.fields_dict(SessionHealth), 0)
        return SessionHealth(**{**values, "trouble": self.trouble})  # type: ignore[arg-type]


async def test_a_full_disk_holds_up_pictures_until_there_is_room(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture is saved once; one that can't be had holds up no other."""
    await migrate(postgres_database)
    async with make_pool(postgres_database) as pool, pool.connection() as connection:
        orders = Orders(pool)
        for number in range(3):
            order = Order(f"order-{number}", "ada", SOURCE, "on stage")
            await orders.add(order, connection)
            ref = LookRef("avtr_a", f"look_{number}")
            await orders.settled(order.id, Look(ref, LookStatus.READY, f"https://cdn.example/{number}.jpg"))
        session = PictureSession()
        settings = Settings(postgres_database, "https://shop.example/hooks/hoox", pictures=str(tmp_path))
        shop = Shop(settings, pool, orders, session, None, None, {})  # type: ignore[arg-type]
        session.fails = {"look_1": TransportError("no picture"), "look_2": OSError(errno.ENOSPC, "full")}
        with pytest.raises(OSError, match="full"):
            await save_pictures(shop)
        session.fails.pop("look_2")
        await save_pictures(shop)
        await save_pictures(shop)
        session.fails.clear()
        await save_pictures(shop)
        assert sorted(session.saved) == ["look_0", "look_1", "look_2"]


class PictureSession:
    """A session in place of a real one, whose downloads of some looks fail."""

    def __init__(self) -> None:
        self.fails: dict[str, Exception] = {}
        self.saved: list[str] = []

    async def download(self, look: Look, _: str, *, overwrite: bool) -> None:
        assert overwrite
        if look.ref.look_id in self.fails:
            raise self.fails[look.ref.look_id]
        self.saved.append(look.ref.look_id)


def test_an_order_is_the_same_request_each_time() -> None:
    """Whoever makes an order's request again makes an equal one: else its key would be a conflict."""
    order = Order("order-1", "ada", SOURCE, "on stage", "00-1-2-01")
    assert order.edit() == Order(*order).edit()
    assert order.edit().metadata == {"customer": "ada", "order": "order-1", "traceparent": "00-1-2-01"}


@pytest.mark.pgbouncer
async def test_its_connections_work_behind_pgbouncer(pgbouncer_url: str) -> None:
    """The shop and its engine repeat a statement, as psycopg would prepare it, while they share a backend."""
    async with (
        make_engine(pgbouncer_url).open_async() as engine,
        AsyncConnectionPool(pgbouncer_url, open=False, **CONNECTIONS) as pool,
    ):
        for _ in range(8):
            assert await engine.connector.execute_query_one_async("SELECT 1 AS one") == {"one": 1}
        for _ in range(8):
            async with pool.connection() as connection:
                assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


def test_pauses_between_runs_are_bounded() -> None:
    """What fails is run again after 1, 2, 4 … seconds, a minute at most, however often it has failed."""
    engine = make_engine("postgresql://nobody@127.0.0.1:1/none")
    job = engine.configure_task("shop:make_look").job
    pauses = []
    for attempts in (0, 1, 2, 6, 10_000):
        decision = WhateverFails().get_retry_decision(exception=OSError(), job=job.evolve(attempts=attempts))
        assert decision.retry_at is not None
        pauses.append(decision)
    first, *_, last = (decision.retry_at for decision in pauses)
    assert first is not None
    assert last is not None
    assert 50.0 < (last - first).total_seconds() < 70.0


async def test_a_failure_that_nobody_hears_of_stops_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    """A task that fails unheard, such as the engine's note of a job's end, is logged and stops the worker."""
    stop = asyncio.Event()
    stop_on_failures(asyncio.get_running_loop(), stop)

    async def fail() -> None:
        raise OSError("the database is gone")

    task: asyncio.Task[None] | None = asyncio.create_task(fail())
    await asyncio.sleep(0)
    assert task is not None
    assert task.done()
    task = None
    gc.collect()
    assert stop.is_set()
    assert "the database is gone" in caplog.text


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (NotFound(404, "LOOK_NOT_FOUND", "Look not found"), True),
        (NotFound(404, None, "Avatar not found"), True),
        (NotFound(404, "SPACE_NOT_FOUND", "no workspace"), False),
        (PermissionDenied(403, "FORBIDDEN", "another workspace's"), True),
        (PermissionDenied(403, "plan_required", "not an Enterprise workspace"), False),
        (BadRequest(400, None, "the prompt is too long"), True),
        (Conflict(409, None, "it exists already"), True),
        (AuthenticationError(401, None, "the key is wrong"), False),
        (InsufficientCredits(402, None, "no credits"), False),
        (NotSent("no connection was made"), False),
        (StoreError("the database is gone"), False),
    ],
)
def test_a_refusal_of_the_order_is_final_and_one_of_the_workspace_is_not(
    error: HooxError, final: bool
) -> None:
    """The first ends the order with its reason; the second can pass, and the order is tried again."""
    assert is_final(error) is final


class NothingSent:
    """A session that sends nothing."""

    async def submit(self, *_: object, **__: object) -> None:
        raise NotSent("the source could not be made; the edit was not sent")


async def test_an_order_whose_source_could_not_be_made_is_refused(postgres_database: str) -> None:
    """It would wait for ever: no edit of such a look is sent. With any other source it is tried again."""
    await migrate(postgres_database)
    first, second, third = (
        Order("first", "ada", SOURCE, "on stage"),
        Order("second", "ada", "avtr_a:look_2", "at sea"),
        Order("third", "ada", "avtr_a:look_3", "at sea"),
    )
    async with make_pool(postgres_database) as pool:
        orders = Orders(pool)
        settings = Settings(postgres_database, "https://shop.example.com/hooks")
        parts: Any = {"session": NothingSent(), "hub": None, "telemetry": None}
        shop = Shop(settings, pool, orders, budgets={}, **parts)
        async with pool.connection() as connection:
            for order in (first, second, third):
                await orders.add(order, connection)
        await orders.settled("first", Look(LookRef.parse(second.source), LookStatus.FAILED))
        assert await submit(shop, second) is None
        with pytest.raises(NotSent):
            await submit(shop, third)
        found = [await orders.get(order.id) for order in (second, third)]
    assert [order.state for order in found if order] == ["refused", "queued"]
    assert found[0] is not None
    assert "could not be made" in str(found[0].reason)


@pytest.mark.parametrize("by_signal", [True, False])
async def test_a_worker_ends_with_0_only_by_a_signal(
    by_signal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a fault has stopped ends with 1, also where the signal comes while it stops."""

    async def work(_: Settings, stop: asyncio.Event) -> None:
        if not by_signal:
            asyncio.get_running_loop().call_exception_handler({"message": "a part failed"})
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        await asyncio.sleep(0.01)

    monkeypatch.setattr("production.worker.work", work)
    monkeypatch.setattr("production.worker.read_settings", lambda: None)
    try:
        assert await worker_main() == (0 if by_signal else 1)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


async def test_two_workers_on_one_machine_have_a_port_each(caplog: pytest.LogCaptureFixture) -> None:
    """The probes of a worker listen on loopback, at a free port that the log names, unless told otherwise."""
    settings = Settings("postgresql://db/shop", "https://shop.example.com/hooks")
    assert settings.probe_host == "127.0.0.1"
    caplog.set_level("INFO", "shop")
    async with (
        HooxSession("hx_live_key", base_url="http://127.0.0.1:9") as session,
        serve_probes(session, settings.probe_host, settings.probe_port),
        serve_probes(session, settings.probe_host, settings.probe_port),
    ):
        pass
    assert len({line for line in caplog.messages if "probes at http://127.0.0.1:" in line}) == 2


async def test_a_connection_that_broke_while_it_was_idle_is_not_used(postgres_database: str) -> None:
    """As after a restart of the server: the next statement has another one."""
    async with (
        make_pool(postgres_database) as pool,
        await psycopg.AsyncConnection.connect(postgres_database, autocommit=True) as other,
    ):
        async with pool.connection() as connection:
            pid = connection.info.backend_pid
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        async with pool.connection() as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_connections_suit_a_pooler(postgres_database: str) -> None:
    """A statement alone begins no transaction, and none is prepared, however often it is executed."""
    async with (
        AsyncConnectionPool(postgres_database, open=False, **CONNECTIONS) as pool,
        pool.connection() as connection,
    ):
        for _ in range(10):
            await connection.execute("SELECT 1")
        assert connection.info.transaction_status == TransactionStatus.IDLE
        found = await connection.execute("SELECT count(*) FROM pg_prepared_statements")
        assert await found.fetchone() == (0,)


def test_settings_come_from_the_environment() -> None:
    """Two are required; the others have the defaults that the README names."""
    required = {"SHOP_DATABASE": "postgresql://db/shop", "SHOP_PUBLIC_URL": "https://shop.example.com/hooks"}
    assert read_settings(required) == Settings("postgresql://db/shop", "https://shop.example.com/hooks")
    assert read_settings({**required, "SHOP_LEASE": "3", "SHOP_NEW_KEY": "1"}).lease == 3.0
    with pytest.raises(KeyError):
        read_settings({})


def test_the_readme_names_every_setting() -> None:
    """Each variable that a process reads."""
    readme = (EXAMPLES / "production" / "README.md").read_text(encoding="utf-8")
    fields = set(Settings._fields) - {"drain", "close"}
    assert {name for name in fields if f"SHOP_{name.upper()}" not in readme} == set()


@pytest.fixture
def manifest() -> list[dict[str, Any]]:
    """The objects of `kubernetes.yaml`."""
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((EXAMPLES / "production" / "kubernetes.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def pods(manifest: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pod of each program that the manifest runs, by the program's module."""
    folder = EXAMPLES / "production"
    programs = {"web", *(file.stem for file in folder.glob("*.py") if "__main__" in file.read_text())}
    templates = [each["spec"]["template"] for each in manifest if "template" in each.get("spec", {})]
    commands = [" ".join(each["spec"]["containers"][0]["command"]) for each in templates]
    run = [command.partition("production.")[2].split()[0].partition(":")[0] for command in commands]
    assert sorted(run) == sorted(programs), "each program of the folder, once"
    return dict(zip(run, templates, strict=True))


def test_the_manifest_runs_every_program(manifest: list[dict[str, Any]], pods: dict[str, Any]) -> None:
    """Each program has a pod with the settings that it reads, the same image, and probes at its port."""
    given = {name for each in manifest for name in {**each.get("stringData", {}), **each.get("data", {})}}
    known = {"HOOX_API_KEY", "HOOX_WEBHOOK_SECRET", *(f"SHOP_{name.upper()}" for name in Settings._fields)}
    for name, pod in pods.items():
        [container] = pod["spec"]["containers"]
        own = {each["name"]: each["value"] for each in container.get("env", ())}
        assert given | own.keys() <= known
        assert container["envFrom"] == [{"secretRef": {"name": "shop"}}, {"configMapRef": {"name": "shop"}}]
        assert container["image"] == "registry.example.com/shop:1"
        if name == "migrate":
            continue
        [port] = [each["containerPort"] for each in container["ports"]]
        assert own.get("SHOP_PROBE_PORT", str(port)) == str(port)
        for probe, path in (("startupProbe", "/readyz"), ("livenessProbe", "/healthz")):
            assert container[probe]["httpGet"] == {"path": path, "port": port}


def test_the_pictures_outlive_their_pod(manifest: list[dict[str, Any]], pods: dict[str, Any]) -> None:
    """They are saved on a disk that is claimed, by one process at a time."""
    pod = pods["pictures"]["spec"]
    [container], [volume] = pod["containers"], pod["volumes"]
    [mount] = container["volumeMounts"]
    assert {"name": "SHOP_PICTURES", "value": mount["mountPath"]} in container["env"]
    assert mount["name"] == volume["name"]
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in [(each["kind"], each["metadata"]["name"]) for each in manifest]
    [deployment] = [each for each in manifest if each.get("spec", {}).get("template") == pods["pictures"]]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_a_graceful_stop_fits_what_kubernetes_allows(pods: dict[str, Any]) -> None:
    """Orders that are worked on and requests that are outstanding together get less than 25 s."""
    settings = Settings("postgresql://db/shop", "https://shop.example.com/hooks")
    assert settings.drain + settings.close <= 22
    for name, pod in pods.items():
        assert pod["spec"].get("terminationGracePeriodSeconds") == (None if name == "migrate" else 30)
