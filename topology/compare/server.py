"""What the right host serves: files by nginx, and datagrams that come back."""

import sys
from pathlib import Path

from topology.hosts import Host, wait_until
from topology.tunnels import Joined

FILES_PORT = 8080
ECHO_PORT = 7007

SMALL = "small"
LARGE = "large"
LARGE_BYTES = 64 * 2**30
"""Of a file that has no blocks: none is ever read from a disk."""

_NGINX = """
daemon off; master_process off;
pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-f; uwsgi_temp_path {directory}/nginx-u;
  scgi_temp_path {directory}/nginx-s;
  server {{
    listen {v4}:{port} backlog=4096; listen [{v6}]:{port} backlog=4096;
    root {root};
  }}
}}
"""


def serve(joined: Joined) -> None:
    """Start the servers on the right host, and wait until they take clients."""
    host = joined.right
    root = host.lab.directory / "files"
    root.mkdir()
    (root / SMALL).write_bytes(b"a small file\n" * 80)
    with (root / LARGE).open("wb") as large:
        large.truncate(LARGE_BYTES)
    config = host.lab.directory / "nginx.conf"
    config.write_text(
        _NGINX.format(
            directory=host.lab.directory,
            root=root,
            v4=joined.right_v4,
            v6=joined.right_v6,
            port=FILES_PORT,
        )
    )
    _make_readable(host.lab.directory, root)
    host.start(["nginx", "-e", "stderr", "-c", str(config)])
    host.start(
        [sys.executable, "-m", "topology.compare.echo", joined.right_v4, str(ECHO_PORT)]
    )
    for kind, port in (("-Hltn", FILES_PORT), ("-Hlun", ECHO_PORT)):
        _await(host, kind, port)


def _await(host: Host, kind: str, port: int) -> None:
    wait_until(
        lambda: bool(host.run(f"ss {kind} sport = {port}").stdout),
        f"port {port} is served",
    )


def _make_readable(*directories: Path) -> None:
    # nginx reads as nobody.
    for directory in directories:
        directory.chmod(0o755)
