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
    "not down. qBittorrent keeps its port, but no peer can connect.",
    f"{RUNBOOKS}#qstickynoforwardedport",
)
OUT_OF_SYNC = Alert(
    {**HOME, "state": "out_of_sync", "severity": "critical"},
    "qBittorrent does not keep the forwarded port.",
    "Tunnel home (nas:9809): for 10 minutes qSticky has set the forwarded port in qBittorrent, "
    "and qBittorrent has shown another one afterwards.",
    f"{RUNBOOKS}#qstickyportoutofsync",
)
NOT_LISTENING = Alert(
    {**HOME, "state": "not_listening", "severity": "critical"},
    "qBittorrent has the right port but does not listen on it.",
    "Tunnel home (nas:9809): for 10 minutes qBittorrent has had the forwarded port in its settings "
    "but no open socket. qSticky keeps trying to reopen it, so far without success.",
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
    "Gluetun denies qSticky access.",
    "Tunnel home (nas:9809): Gluetun has refused qSticky for 10 minutes. The key or password is "
    "wrong, or its role lacks a route.",
    f"{RUNBOOKS}#qstickygluetununauthorized",
)
QBITTORRENT_UNREACHABLE = Alert(
    {**HOME, "state": "qbittorrent_unreachable", "severity": "critical"},
    "qBittorrent does not answer.",
    "Tunnel home (nas:9809): qBittorrent's Web UI has given no valid answer for 10 minutes, so its "
    "port cannot be set.",
    f"{RUNBOOKS}#qstickyqbittorrentunreachable",
)
QBITTORRENT_UNAUTHORIZED = Alert(
    {**HOME, "severity": "critical"},
    "qBittorrent denies qSticky access.",
    "Tunnel home (nas:9809): qBittorrent has refused qSticky for 10 minutes. The user name, "
    "password, key or Host header is wrong, or qBittorrent has banned the address. qSticky tries "
    "again at most 4 times an hour; restart it only after a change of its environment.",
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
    "qSticky runs but no longer checks the port.",
    "Tunnel home (nas:9809): qSticky finished its last check 6m 0s ago. More than 5 intervals and "
    "a minute mean that it hangs.",
    f"{RUNBOOKS}#qstickysyncstalled",
)
SYNC_STALLED_FROM_THE_FIRST = Alert(
    {**HOME, "severity": "critical"},
    "qSticky runs but no longer checks the port.",
    "Tunnel home (nas:9809): qSticky has not finished its first check. More than 5 intervals and "
    "a minute mean that it hangs.",
    f"{RUNBOOKS}#qstickysyncstalled",
)
FIREWALLED = Alert(
    {**HOME, "state": "firewalled", "severity": "warning"},
    "The ports agree, but no peer has connected from outside.",
    "Tunnel home (nas:9809): qBittorrent listens on the forwarded port and has torrents, but for "
    "30 minutes nobody has connected to it from outside.",
    f"{RUNBOOKS}#qstickyfirewalled",
)
PORT_FLAPPING = Alert(
    {**HOME, "severity": "warning"},
    "The forwarded port keeps changing.",
    "Tunnel home (nas:9809): the forwarded port has changed 5 times within an hour; the limit is "
    "5. Trackers and peers learn each new port late.",
    f"{RUNBOOKS}#qstickyportflapping",
)
PORT_DRIFT = Alert(
    {**HOME, "severity": "warning"},
    "Something else changes qBittorrent's port.",
    "Tunnel home (nas:9809): something other than qSticky has changed qBittorrent's port 3 times "
    "within an hour; the limit is 3. qSticky sets it back each time.",
    f"{RUNBOOKS}#qstickyportdrift",
)
DOWN = Alert(
    {**PROCESS, "severity": "critical"},
    "qSticky is down.",
    "Prometheus has not reached qSticky at nas:9809 for 5 minutes. A new port would go unnoticed.",
    f"{RUNBOOKS}#qstickydown",
)
ABSENT = Alert(
    {"severity": "warning"},
    "Prometheus scrapes no qSticky.",
    "These rules are loaded, but Prometheus has scraped no qSticky for an hour.",
    f"{RUNBOOKS}#qstickyabsent",
)
RESTARTING = Alert(
    {**PROCESS, "severity": "warning"},
    "qSticky keeps restarting.",
    "qSticky at nas:9809 has started 3 times within 30 minutes; the limit is 2.",
    f"{RUNBOOKS}#qstickyrestarting",
)
HIGH_FAILURE_RATIO = Alert(
    {**PROCESS, "operation": "gluetun_port", "severity": "warning"},
    "Requests often fail, although the port is mostly right.",
    "qSticky at nas:9809: 31.25% of the operation gluetun_port have failed for 20 minutes; "
    "the limit is 25 %.",
    f"{RUNBOOKS}#qstickyhighfailureratio",
)
CONFIG_RELOAD_FAILED = Alert(
    {**PROCESS, "severity": "warning"},
    "qSticky rejected its changed configuration.",
    "qSticky at nas:9809 found mistakes in its configuration at a reload more than 10 minutes ago. "
    "It keeps the previous one.",
    f"{RUNBOOKS}#qstickyconfigreloadfailed",
)
STATUS_FILE_STALE = Alert(
    {**PROCESS, "severity": "warning"},
    "qSticky cannot write its status file.",
    "qSticky at nas:9809 keeps checking the port, but its status.json is more than 2 minutes "
    "old. A health check that reads it calls the container unhealthy.",
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
