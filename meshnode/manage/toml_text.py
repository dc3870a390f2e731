"""Change the text of a TOML document and leave what a person wrote in it.

The text is cut at its headers. A section whose content stays keeps its text, comments
and all; one that changes keeps the comment above it; new ones come after their like.
"""

import re
from collections.abc import Callable

from meshnode.values import frozen

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(#.*)?")


@frozen
class _Section:
    """A header and the lines up to the next; `above` are the comments before it."""

    header: str
    above: str
    body: str

    @property
    def is_repeated(self) -> bool:
        """Whether there may be several: `[[header]]`."""
        return self.header.startswith("[[")


def merge_text(old: str, new: str, canonical: Callable[[str], str | None]) -> str:
    """Return *new* in the words of *old*, where they say the same.

    *canonical* rewrites a section as *new* would have it, or returns None if it
    cannot. The result is a proposal: a string over several lines may look like a
    header, so the caller checks that it means what *new* means.
    """
    wanted = _sections(new)
    merged: list[_Section] = []
    for section in _sections(old):
        same = _find_same(section, wanted, canonical)
        if same is not None:
            wanted.remove(same)
            merged.append(section)
            continue
        changed = [other for other in wanted if other.header == section.header]
        if changed and not section.is_repeated:
            wanted.remove(changed[0])
            merged.append(_Section(section.header, section.above, changed[0].body))
        elif not section.header and section.body.strip():
            merged.append(section)
    for section in wanted:
        _insert(merged, section)
    return "\n".join(f"{s.above}{s.body}".strip("\n") + "\n" for s in merged)


def _sections(text: str) -> list[_Section]:
    sections: list[_Section] = []
    header, above, body = "", "", ""
    for line in text.splitlines(keepends=True):
        found = _HEADER.fullmatch(line.rstrip("\n"))
        if not found:
            body += line
            continue
        kept, comments = _split_comments(body)
        sections.append(_Section(header, above, kept))
        brackets = found[1]
        header = f"{brackets}{found[2]}{']' * len(brackets)}"
        above, body = comments, line
    sections.append(_Section(header, above, body))
    return [s for s in sections if (s.above + s.body).strip()]


def _split_comments(body: str) -> tuple[str, str]:
    """Cut the comment lines at the end of *body*, which belong to what follows."""
    lines = body.splitlines(keepends=True)
    end = len(lines)
    while end and lines[end - 1].lstrip().startswith("#"):
        end -= 1
    return "".join(lines[:end]), "".join(lines[end:])


def _find_same(
    section: _Section,
    wanted: list[_Section],
    canonical: Callable[[str], str | None],
) -> _Section | None:
    if not section.header:
        return None
    rewritten = canonical(section.body)
    if rewritten is None:
        return None
    bodies = [s.body.strip() for s in _sections(rewritten) if s.header]
    for other in wanted:
        if other.header == section.header and other.body.strip() in bodies:
            return other
    return None


def _insert(sections: list[_Section], section: _Section) -> None:
    """Put *section* after the last one of its kind, or at the end."""
    places = [n for n, other in enumerate(sections) if other.header == section.header]
    sections.insert(places[-1] + 1 if places else len(sections), section)
