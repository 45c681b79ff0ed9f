"""Results that say in a few lines what they are, in a terminal and in a notebook."""

from __future__ import annotations

import html


class Shown:
    """A result whose `lines` are its text and its HTML: what, and what is to be known of it."""

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the summary: a name, empty to continue the last one, and a text."""
        raise NotImplementedError

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self.lines())
        return "\n".join(f"{name:{width}}  {text}" for name, text in self.lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.lines()
        )
        return f"<table>{rows}</table>"
