"""Makes what stands in for the images of the compose files, out of Debian's packages and ours.

Each has what its compose file counts on: programs, folders, and the tools of its health check.
"""

from pathlib import Path

from tests.parts import debian, monitoring, qbittorrent
from tests.parts.docker import BASE, IMAGE, Engine

TOOLS = "tools"
TOOLS_LINES = f"""
FROM {BASE}
COPY . /opt/tools
ENV PATH=$PATH:/opt/tools/bin
RUN ln -s /opt/tools/root/usr/bin/busybox /usr/local/bin/wget
"""
GLUETUN = f"""
FROM {TOOLS}
COPY --from={IMAGE} /opt/qsticky /opt/qsticky
COPY gluetun.py /gluetun-entrypoint
RUN chmod +x /gluetun-entrypoint
ENV GENERATION=%s
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s CMD /gluetun-entrypoint healthcheck
ENTRYPOINT ["/gluetun-entrypoint"]
"""
QBITTORRENT = f"""
FROM {TOOLS}
COPY . /opt/qbittorrent
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/config HOME=/config
VOLUME /config
ENTRYPOINT exec /opt/qbittorrent/bin/qbittorrent-nox --confirm-legal-notice --webui-port=$WEBUI_PORT
"""
MONITORING = f"""
FROM {TOOLS}
COPY . /opt/monitoring
RUN mkdir -p /usr/share/prometheus /NAME && chown 65534:65534 /NAME \
 && ln -s /opt/monitoring/root/usr/share/prometheus/alertmanager /usr/share/prometheus/
USER 65534:65534
WORKDIR /NAME
ENTRYPOINT ["/opt/monitoring/bin/PROGRAM"]
"""


def make(engine: Engine) -> None:
    """Make them all, under the names of the images for which they stand."""
    engine.build(
        TOOLS, TOOLS_LINES, debian.bring("tools-trixie", "trixie", "curl", "busybox-static").parent
    )
    for tag, generation in (("v3.41", "3.41"), ("v3.41.1", "3.41"), ("latest", "3.40")):
        engine.build(f"qmcgaw/gluetun:{tag}", GLUETUN % generation, Path(__file__).parent)
    client = qbittorrent.launcher("5.1.0").parent.parent
    for name in ("lscr.io/linuxserver/qbittorrent:5.1.4", "linuxserver/qbittorrent:latest"):
        engine.build(name, QBITTORRENT, client)
    servers = monitoring.promtool().parent.parent
    for name, program, image in (
        ("prometheus", "prometheus", "prom/prometheus:v3.5.0"),
        ("alertmanager", "prometheus-alertmanager", "prom/alertmanager:v0.28.1"),
    ):
        lines = MONITORING.replace("NAME", name).replace("PROGRAM", program)
        engine.build(image, lines, servers)
    engine("tag", IMAGE, "ghcr.io/qsticky/qsticky:2")
