"""Draw a description: nodes are columns, LANs rows, and a dot is a place in a LAN."""

from html import escape

from topology.description import Description, Lan, Node, Runs

_KINDS = {Runs.MESHNODE: "", Runs.PLAIN: "plain", Runs.ROUTER: "router"}
_COLUMN = 96
_ROW = 64
_LEFT = 130
_TOP = 70


def as_text(description: Description) -> str:
    """Return the picture as lines of text."""
    nodes = description.nodes
    width = max(9, *(len(node.name) + 2 for node in nodes))
    left = max(len(lan.name) for lan in description.lans) + 2
    network = description.network
    headings = ([node.name for node in nodes], [_kind(node) for node in nodes])
    lines = [f"{network.name}: overlay {network.cidr}", ""]
    lines += [
        (" " * left + "".join(text.center(width) for text in heading)).rstrip()
        for heading in headings
    ]
    rows = [_span(description, lan) for lan in description.lans]
    for number, lan in enumerate(description.lans):
        first, last = rows[number]
        wire, below = "", ""
        for column, node in enumerate(nodes):
            member = lan.member(node.name)
            inside = first <= column <= last
            passes = _is_passing(description, node.name, number)
            middle = "●" if member else _crossing(inside, passes)
            before = "─" if first < column <= last else " "
            after = "─" if first <= column < last else " "
            wire += _cell(middle, before, after, width)
            tail = "│" if _is_passing(description, node.name, number + 1) else " "
            suffix = f".{str(member.v4).rpartition('.')[2]}" if member else ""
            below += _cell(tail, " ", " ", width)[: width // 2 + 1] + suffix.ljust(
                width - width // 2 - 1
            )
        lines.append(f"{lan.name:<{left}}{wire}  {_facts(lan)}".rstrip())
        lines.append(f"{'':<{left}}{below}".rstrip())
    return "\n".join(lines)


def as_svg(description: Description) -> str:
    """Return the picture as an SVG document."""
    nodes = description.nodes
    width = _LEFT + _COLUMN * len(nodes) + 260
    height = _TOP + _ROW * len(description.lans)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _svg_text(10, 22, f"{description.network.name}: {description.network.cidr}"),
    ]
    places = {node.name: _LEFT + _COLUMN * (i + 0.5) for i, node in enumerate(nodes)}
    for node in nodes:
        x = places[node.name]
        rows = [i for i, lan in enumerate(description.lans) if lan.member(node.name)]
        bottom = _TOP + _ROW * rows[-1]
        parts.append(_svg_line(x, _TOP - 22, x, bottom, "#888"))
        parts.append(_svg_text(x, _TOP - 38, node.name, "middle"))
        parts.append(_svg_text(x, _TOP - 25, _kind(node), "middle"))
    for number, lan in enumerate(description.lans):
        y = _TOP + _ROW * number
        first, last = _span(description, lan)
        ends = [places[nodes[column].name] for column in (first, last)]
        parts.append(_svg_line(ends[0], y, ends[1], y, "#06c"))
        parts.append(_svg_text(10, y + 4, lan.name))
        parts.append(_svg_text(ends[1] + 14, y + 4, _facts(lan)))
        for member in lan.members:
            x = places[member.node]
            parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="#06c"/>')
            parts.append(_svg_text(x + 7, y + 18, str(member.v4)))
    return "\n".join([*parts, "</svg>"])


def _kind(node: Node) -> str:
    if node.founder:
        return "founder"
    return "NAT" if node.outside else _KINDS[node.runs]


def _span(description: Description, lan: Lan) -> tuple[int, int]:
    """Return the first and the last column that a LAN touches."""
    columns = [
        column for column, node in enumerate(description.nodes) if lan.member(node.name)
    ]
    return columns[0], columns[-1]


def _is_passing(description: Description, node: str, row: int) -> bool:
    """Say whether a node has a LAN at *row* or below, so that its line goes on."""
    return any(lan.member(node) for lan in description.lans[row:])


def _crossing(inside: bool, passes: bool) -> str:
    return {(True, True): "┼", (True, False): "─", (False, True): "│"}.get(
        (inside, passes), " "
    )


def _cell(middle: str, before: str, after: str, width: int) -> str:
    half = width // 2
    return before * half + middle + after * (width - half - 1)


def _facts(lan: Lan) -> str:
    facts = [str(lan.prefix)]
    if lan.prefix6:
        facts.append(str(lan.prefix6))
    if lan.latency:
        facts.append(f"{lan.latency * 1000:g} ms")
    if lan.hops:
        facts.append(f"{lan.hops} hops")
    if lan.loss:
        facts.append(f"{lan.loss * 100:g} % lost")
    if lan.rate:
        facts.append(f"{lan.rate / 1e6:g} Mbit/s")
    return ", ".join(facts)


def _svg_line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" '
        f'stroke="{colour}" stroke-width="2"/>'
    )


def _svg_text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
