"""What each destination of docs/ costs a request, run as its page prints it, against the real thing."""

import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread

sys.path.extend(["tests", "tests/destinations"])

from pages import Application, bake_page, blocks
from servers import start_collector, start_nats, start_postgres

from .project import SCRATCH

PAGES = ["database.md", "logging.md", "object-store.md", "queue.md", "opentelemetry.md", "background.md"]
NO_HANDLER = """
from dbally.audit.event_handlers.base import EventHandler
class NoHandler(EventHandler):
    lost_records = 0
    async def request_start(self, user_request): ...
    async def event_start(self, event, request_context): ...
    async def event_end(self, event, request_context, event_context): ...
    async def request_end(self, output, request_context): ...
handler = NoHandler()
"""
FILES = "from db_ally_file_handler import FileEventHandler; handler = FileEventHandler(log_format='jsonl')"


def main(rounds: int = 9, requests: int = 100) -> None:
    """Print microseconds that a `Collection.ask` takes longer, by the clock: medians of interleaved rounds."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    project = bake_page(SCRATCH / "destinations", *PAGES)
    app = {page: blocks(page)["app.py"] for page in PAGES}
    with servers() as (postgres, nats, collector), contextlib.ExitStack() as stack:
        cases = {
            "no handler": (NO_HANDLER, {}),
            "files": (FILES, {}),
            "SQLite": (app["database.md"], {"RECORDS_URL": "sqlite:///records.db"}),
            "PostgreSQL": (app["database.md"], postgres),
            "PostgreSQL in the background": (app["background.md"], postgres),
            "logging": (app["logging.md"], {}),
            "object store": (app["object-store.md"], {}),
            "queue": (app["queue.md"], nats),
            "OpenTelemetry": (app["opentelemetry.md"], collector),
        }
        running = {name: stack.enter_context(Application(project, *case)) for name, case in cases.items()}
        seconds: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(rounds + 1):  # the first is not counted
            for name in random.sample(list(running), len(running)):
                seconds[name].append(running[name].ask(requests)["seconds"])
        usual = median(seconds["no handler"][1:])
        for name, found in seconds.items():
            print(f"{name}: {1e6 * (median(found[1:]) - usual) / requests:,.0f} µs")


@contextlib.contextmanager
def servers() -> Iterator[tuple[dict[str, str], dict[str, str], dict[str, str]]]:
    """Start PostgreSQL, NATS and an OpenTelemetry collector; yield the environment of their clients."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=receiver.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "postgres").mkdir()
        Path(folder).chmod(0o755)
        postgres = start_postgres(Path(folder) / "postgres")
        nats, nats_env = start_nats(Path(folder) / "nats")
        collector, collector_env = start_collector(f"http://127.0.0.1:{receiver.server_port}")
        url = f"postgresql+psycopg://postgres@127.0.0.1:{postgres.port}/postgres"
        try:
            yield {"RECORDS_URL": url}, nats_env, collector_env
        finally:
            for server in (postgres, nats, collector):
                server.stop()


if __name__ == "__main__":
    main()
