"""A real nginx in front of a server, set up as qBittorrent's wiki recommends; needs no root."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.conftest import Certificate
from tests.parts import debian
from tests.parts.daemon import end, listens, wait_until
from tests.parts.qbittorrent import free_port

_CONFIG = """
daemon off;
master_process off;
error_log stderr warn;
pid {folder}/pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {servers}
}}
"""
_PLAIN = """
  server {{
    listen 127.0.0.1:{port};
    {locations}
  }}
"""
_REDIRECTING = """
  server {{
    listen 127.0.0.1:{port};
    return {status} https://$host:{https_port}$request_uri;
  }}
  server {{
    listen 127.0.0.1:{https_port} ssl;
    ssl_certificate {certificate.file};
    ssl_certificate_key {certificate.key};
    {locations}
  }}
"""
_UNDER = """
    location {path}/ {{
      proxy_pass http://127.0.0.1:{target}/;
      proxy_http_version 1.1;
      proxy_set_header Host 127.0.0.1:{target};
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_cookie_path / "/; Secure";
    }}
"""


def under(targets: Mapping[str, int]) -> str:
    """Return the locations that lead to these ports, each under its path."""
    return "".join(_UNDER.format(path=path, target=port) for path, port in targets.items())


class Nginx:
    """One nginx on a loopback port; a context manager that leaves no process behind."""

    def __init__(
        self,
        folder: Path,
        locations: str,
        redirect: tuple[int, Certificate] | None = None,
    ) -> None:
        """`redirect`: to HTTPS, with this status and certificate."""
        self.port, self.https_port = free_port(), free_port()
        status, certificate = redirect or (0, None)
        servers = (_REDIRECTING if redirect else _PLAIN).format(
            port=self.port,
            https_port=self.https_port,
            status=status,
            certificate=certificate,
            locations=locations,
        )
        self._program = debian.bring("nginx", "bookworm", "nginx-light") / "nginx"
        self._folder = folder / "nginx"
        self._folder.mkdir()
        self._config = self._folder / "nginx.conf"
        self._config.write_text(_CONFIG.format(folder=self._folder, servers=servers))

    def __enter__(self) -> Self:
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", self._config, "-p", self._folder, "-e", "stderr"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        wait_until(self._ready, "nginx is ready")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        return listens(self.port)
