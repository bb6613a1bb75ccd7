# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lines above and below the table, as text."""

from __future__ import annotations

from datetime import datetime, timedelta

from rich.cells import cell_len
from rich.text import Text

from pageowner.reporters.sizes import human_size
from pageowner.sources.live import mem_available
from pageowner.tui.columns import Row, Units
from pageowner.tui.series import Moment
from pageowner.tui.session import Session
from pageowner.tui.shown import fit, shown


def title(session: Session, width: int, busy: float | None) -> Text:
    """What is looked at, when, and whether it goes on; *busy*: seconds for which the child has been."""
    left, right = _what(session), _state(session, busy)
    room = width - cell_len(right) - 1
    return Text(f"{fit(left, room)} {right}" if room > 0 else fit(right, width), "bold reverse", no_wrap=True)


def _what(session: Session) -> str:
    words = ["pageowner top"]
    if not session.series.moments:
        one = session.selections[-1]
        return "  ".join([*words, shown(str(one.path or one.address or one.kind))])
    moment, first = session.series.shown, session.series.moments[0]
    about = moment.snapshot.about
    words += [shown(moment.name), shown(about.get("release", ""))]
    if moment.when is not None:
        words.append(clock(moment))
        if first.when is not None and first is not moment:
            words.append(f"+{timedelta(seconds=round(moment.seconds - first.seconds))}")
    return "  ".join(word for word in words if word)


def _state(session: Session, busy: float | None) -> str:
    series = session.series
    place = f"{series.at + 1} of {len(series.moments)}"
    if busy is not None:
        return f"scanning… {seconds(busy)}" if busy >= 2 else "scanning…"
    if session.live and series.following:
        return "PAUSED" if session.paused else f"live, every {seconds(session.pace.wait(mem_available()))}"
    if session.live or len(session.selections) > 1:
        return f"PAST {place}" if session.live else place
    return "one picture"


def clock(moment: Moment) -> str:
    """The time of day; with the date where it is another day's; the source's name where it does not say."""
    if moment.when is None:
        return moment.name
    today = moment.when.date() == datetime.now().date()
    return f"{moment.when:%H:%M:%S}" if today else f"{moment.when:%Y-%m-%d %H:%M:%S}"


def where(session: Session, pages: int, height: int, width: int) -> Text:
    """How one has come here, what is left out, and what is compared with what."""
    view = session.view
    path = [f"{step.by}: {shown(step.title)}" for step in view.steps]
    if session.pages is not None:
        path.append(f"pages of {shown(session.pages_of)}")
    else:
        path.append(f"by {view.by}")
    line = Text(" > ".join(path), no_wrap=True)
    line.append(f"  {Units().size(pages)} in {height} row{'' if height == 1 else 's'}")
    if view.typed.line:
        line.append(f"  filter: {shown(view.typed.line)}", "bold")
    mark = session.series.mark
    if mark is not None and session.series.marked:
        line.append(f"  mark: {clock(mark)}", "bold")
    line.truncate(width, overflow="ellipsis")
    return line


def detail(session: Session, row: Row | None) -> Text:
    """All of what the cursor is on."""
    if row is None:
        return Text("nothing matches" if session.series.moments else "")
    words = [row["kind"] or "", row["name"]]
    text = Text(shown(" ".join(word for word in words if word)))
    if row["note"]:
        text.append(f"  {shown(row['note'])}", "dim")
    return text


def cost(session: Session) -> Text:
    """What watching takes of the machine, and when it goes on."""
    own = session.cost
    taken = f"{own.cpu:.0%} CPU, " if session.live else ""
    text = f"own cost: {taken}{human_size(own.memory)}; scan {own.scan:.1f} s"
    if session.live and not session.paused:
        available = mem_available()
        text += f"; next in {seconds(max(0.0, session.remaining()))}"
        if why := session.pace.why(available):
            text += f" (slowed: {why})"
    return Text(text, "dim", no_wrap=True, overflow="ellipsis")


def message(session: Session, remark: str, width: int) -> Text:
    """What went wrong, or in one line what the picture lacks; empty when all is well."""
    if session.error:
        return Text(f"! {shown(session.error)}", "bold red")
    remarks = [remark] if remark else []
    if session.series.moments and session.pages is None:
        remarks += [line for line in session.series.shown.snapshot.remarks if not line.startswith("own cost")]
    line = Text(shown("; ".join(remarks)), "yellow")
    line.truncate(width, overflow="ellipsis")
    return line


def seconds(value: float) -> str:
    """A time in few characters."""
    return f"{value / 60:.0f} min" if value >= 120 else f"{value:.0f} s"
