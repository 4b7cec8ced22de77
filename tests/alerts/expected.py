"""Every alert as its receiver sees it, written out: labels, texts, and where to read on."""

from tests.alerts.story import Alert

RUNBOOKS = "https://github.com/qsticky/qsticky/blob/main/docs/runbooks.md"
PROCESS = {"job": "downloads", "instance": "nas:9809"}
HOME = {**PROCESS, "tunnel": "home"}

VPN_DOWN = Alert(
    {**HOME, "state": "vpn_down", "severity": "critical"},
    "The VPN is down.",
    "Tunnel home (nas:9809): Gluetun has said for 10 minutes that its VPN is not running. "
    "Nothing gets in or out until it is.",
    f"{RUNBOOKS}#qstickyvpndown",
)
NO_PORT = Alert(
    {**HOME, "state": "no_port", "severity": "critical"},
    "The VPN forwards no port.",
    "Tunnel home (nas:9809): Gluetun has had no forwarded port for 10 minutes although its VPN is "
    "not down. qBittorrent keeps its port, but no peer can connect in.",
    f"{RUNBOOKS}#qstickynoforwardedport",
)
OUT_OF_SYNC = Alert(
    {**HOME, "state": "out_of_sync", "severity": "critical"},
    "qBittorrent does not take the forwarded port.",
    "Tunnel home (nas:9809): for 10 minutes qSticky has set the forwarded port in qBittorrent, "
    "and qBittorrent has shown another one afterwards.",
    f"{RUNBOOKS}#qstickyportoutofsync",
)
NOT_LISTENING = Alert(
    {**HOME, "state": "not_listening", "severity": "critical"},
    "qBittorrent has the right port but does not listen on it.",
    "Tunnel home (nas:9809): for 10 minutes qBittorrent has had the forwarded port in its settings "
    "but no open socket. qSticky tries to open it again and again, so far in vain.",
    f"{RUNBOOKS}#qstickyportnotlistening",
)
GLUETUN_UNREACHABLE = Alert(
    {**HOME, "state": "gluetun_unreachable", "severity": "critical"},
    "Gluetun does not answer.",
    "Tunnel home (nas:9809): Gluetun's control server has given no valid answer for 10 minutes, "
    "so a new port would go unnoticed.",
    f"{RUNBOOKS}#qstickygluetununreachable",
)
GLUETUN_UNAUTHORIZED = Alert(
    {**HOME, "state": "gluetun_unauthorized", "severity": "critical"},
    "Gluetun does not let qSticky in.",
    "Tunnel home (nas:9809): Gluetun has refused qSticky for 10 minutes. The key or password is "
    "wrong, or its role lacks a route.",
    f"{RUNBOOKS}#qstickygluetununauthorized",
)
QBITTORRENT_UNREACHABLE = Alert(
    {**HOME, "state": "qbittorrent_unreachable", "severity": "critical"},
    "qBittorrent does not answer.",
    "Tunnel home (nas:9809): qBittorrent's Web UI has given no valid answer for 10 minutes, so its "
    "port can not be set.",
    f"{RUNBOOKS}#qstickyqbittorrentunreachable",
)
QBITTORRENT_UNAUTHORIZED = Alert(
    {**HOME, "severity": "critical"},
    "qBittorrent does not let qSticky in.",
    "Tunnel home (nas:9809): qBittorrent has refused qSticky for 10 minutes. The user, password, "
    "key or address is wrong, or qBittorrent has banned us. qSticky tries again at most 4 times an "
    "hour; correct it, then restart qSticky only if you changed its environment.",
    f"{RUNBOOKS}#qstickyqbittorrentunauthorized",
)
SYNC_FAILING = Alert(
    {**HOME, "severity": "critical"},
    "The port has not been right for a long time, for changing reasons.",
    "Tunnel home (nas:9809): qSticky last saw the right port 31m 30s ago, and no reason has "
    "lasted 10 minutes. The limit is 30 minutes.",
    f"{RUNBOOKS}#qstickysyncfailing",
)
SYNC_FAILING_FROM_THE_FIRST = Alert(
    {**HOME, "severity": "critical"},
    "The port has not been right for a long time, for changing reasons.",
    "Tunnel home (nas:9809): qSticky has never seen the right port, and no reason has "
    "lasted 10 minutes. The limit is 30 minutes.",
    f"{RUNBOOKS}#qstickysyncfailing",
)
SYNC_STALLED = Alert(
    {**HOME, "severity": "critical"},
    "qSticky runs but no longer looks after the port.",
    "Tunnel home (nas:9809): qSticky finished its last check 6m 0s ago. More than 5 intervals and "
    "a minute mean that it hangs.",
    f"{RUNBOOKS}#qstickysyncstalled",
)
SYNC_STALLED_FROM_THE_FIRST = Alert(
    {**HOME, "severity": "critical"},
    "qSticky runs but no longer looks after the port.",
    "Tunnel home (nas:9809): qSticky has not finished its first check. More than 5 intervals and "
    "a minute mean that it hangs.",
    f"{RUNBOOKS}#qstickysyncstalled",
)
FIREWALLED = Alert(
    {**HOME, "state": "firewalled", "severity": "warning"},
    "The ports agree but no peer has connected in.",
    "Tunnel home (nas:9809): qBittorrent listens on the forwarded port and has torrents, but for "
    "30 minutes nobody has connected to it from outside.",
    f"{RUNBOOKS}#qstickyfirewalled",
)
PORT_FLAPPING = Alert(
    {**HOME, "severity": "warning"},
    "The forwarded port changes again and again.",
    "Tunnel home (nas:9809): the VPN has forwarded 5 other ports within an hour. From 5 on it is "
    "worth a look: trackers and peers learn each new port late.",
    f"{RUNBOOKS}#qstickyportflapping",
)
PORT_DRIFT = Alert(
    {**HOME, "severity": "warning"},
    "Something else changes qBittorrent's port.",
    "Tunnel home (nas:9809): qBittorrent left the right port 3 times within an hour although the "
    "forwarded port did not change. qSticky sets it again each time. From 3 on it is no accident.",
    f"{RUNBOOKS}#qstickyportdrift",
)
DOWN = Alert(
    {**PROCESS, "severity": "critical"},
    "qSticky is down.",
    "Prometheus has not reached qSticky at nas:9809 for 5 minutes. Nobody keeps the port right.",
    f"{RUNBOOKS}#qstickydown",
)
ABSENT = Alert(
    {"severity": "warning"},
    "Prometheus knows no qSticky.",
    "These rules are loaded, but for an hour no target of Prometheus has been a qSticky.",
    f"{RUNBOOKS}#qstickyabsent",
)
RESTARTING = Alert(
    {**PROCESS, "severity": "warning"},
    "qSticky starts again and again.",
    "qSticky at nas:9809 has started 3 times within 30 minutes. More than 2 is no update.",
    f"{RUNBOOKS}#qstickyrestarting",
)
HIGH_FAILURE_RATIO = Alert(
    {**PROCESS, "operation": "gluetun_port", "severity": "warning"},
    "Requests fail often, though the port is mostly right.",
    "qSticky at nas:9809: 31.25% of the operation gluetun_port have failed for 20 minutes. "
    "More than 25 % is not normal.",
    f"{RUNBOOKS}#qstickyhighfailureratio",
)
CONFIG_RELOAD_FAILED = Alert(
    {**PROCESS, "severity": "warning"},
    "qSticky rejected its changed configuration.",
    "qSticky at nas:9809 was told to load its configuration again more than 10 minutes ago and "
    "found mistakes in it. It goes on with the old one.",
    f"{RUNBOOKS}#qstickyconfigreloadfailed",
)
STATUS_FILE_STALE = Alert(
    {**PROCESS, "severity": "warning"},
    "qSticky can not write its status file.",
    "qSticky at nas:9809 goes on checking the port, but its status.json is more than 2 minutes "
    "behind. A health check that reads it calls the container unhealthy.",
    f"{RUNBOOKS}#qstickystatusfilestale",
)

# what an alert on one state of the tunnel is called, and how it looks
CAUSES = {
    "vpn_down": ("QStickyVPNDown", VPN_DOWN),
    "no_port": ("QStickyNoForwardedPort", NO_PORT),
    "out_of_sync": ("QStickyPortOutOfSync", OUT_OF_SYNC),
    "not_listening": ("QStickyPortNotListening", NOT_LISTENING),
    "gluetun_unreachable": ("QStickyGluetunUnreachable", GLUETUN_UNREACHABLE),
    "gluetun_unauthorized": ("QStickyGluetunUnauthorized", GLUETUN_UNAUTHORIZED),
    "qbittorrent_unreachable": ("QStickyQbittorrentUnreachable", QBITTORRENT_UNREACHABLE),
    "qbittorrent_unauthorized": ("QStickyQbittorrentUnauthorized", QBITTORRENT_UNAUTHORIZED),
    "qbittorrent_banned": ("QStickyQbittorrentUnauthorized", QBITTORRENT_UNAUTHORIZED),
}
