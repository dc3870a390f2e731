"""A PAC file: what tells a browser which URLs to take through the proxy."""

import json
from collections.abc import Iterable

from meshnode.types import Prefix

_TEMPLATE = """\
// What of the web goes through this node of the mesh.
var PROXY = %(proxy)s;
var NAMES = %(names)s;
var NETWORKS4 = %(networks4)s;
var NETWORKS6 = %(networks6)s;

function bits4(host) {
  var bits = "", parts;
  parts = /^(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})$/.exec(host);
  for (var i = 1; parts && i < 5; i++)
    bits += (256 + Number(parts[i])).toString(2).slice(1);
  return bits;
}

function bits6(host) {
  var halves = host.replace(/[\\[\\]]/g, "").split("::"), groups, bits = "";
  groups = halves[0] ? halves[0].split(":") : [];
  if (halves.length > 1) {
    var tail = halves[1] ? halves[1].split(":") : [];
    while (groups.length + tail.length < 8) groups.push("0");
    groups = groups.concat(tail);
  }
  for (var i = 0; i < groups.length; i++)
    bits += (65536 + parseInt(groups[i], 16)).toString(2).slice(1);
  return bits;
}

function within(bits, networks) {
  for (var i = 0; i < networks.length; i++)
    if (bits.indexOf(networks[i]) === 0) return true;
  return false;
}

function FindProxyForURL(url, host) {
  host = host.toLowerCase().replace(/\\.$/, "");
  for (var i = 0; i < NAMES.length; i++)
    if (host === NAMES[i] || host.slice(-NAMES[i].length - 1) === "." + NAMES[i])
      return PROXY;
  if (host.indexOf(":") >= 0)
    return within(bits6(host), NETWORKS6) ? PROXY : "DIRECT";
  if (bits4(host)) return within(bits4(host), NETWORKS4) ? PROXY : "DIRECT";
  return "DIRECT";
}
"""

_EVERYTHING = """\
function FindProxyForURL(url, host) {
  return %(proxy)s;
}
"""


def pac_file(proxy: str, prefixes: Iterable[Prefix], names: Iterable[str]) -> str:
    """Return the text of a PAC file.

    Args:
        proxy: `HOST:PORT` of the listener, as clients reach it.
        prefixes: what goes through it, if it is asked for by number. Both `0.0.0.0/0`
            and `::/0` make it everything, names included.
        names: domains without a leading dot; they and all names below go through it.
    """
    networks: dict[int, list[str]] = {4: [], 6: []}
    for prefix in prefixes:
        bits = f"{prefix.network:0{32 if prefix.version == 4 else 128}b}"
        networks[prefix.version].append(bits[: prefix.length])
    is_everything = "" in networks[4] and "" in networks[6]
    return (_EVERYTHING if is_everything else _TEMPLATE) % {
        "proxy": json.dumps(f"PROXY {proxy}"),
        "names": json.dumps(sorted(name.lower().rstrip(".") for name in names)),
        "networks4": json.dumps(networks[4]),
        "networks6": json.dumps(networks[6]),
    }
