"""What a mirror says: JSON to stdout if it is asked for, and to stderr where runs changed."""

from __future__ import annotations

from emabench.cli.app.console import err, print_json, print_json_line
from emabench.table import counted
from emabench.tracking._mirror import MirrorPass
from emabench.tracking._tracker import Tracker


class MirrorTeller:
    """Tells what each look at the store brought; of those that brought nothing, the first only.

    Args:
        tracker: that is written.
        json: whether JSON is printed: with ``follow`` one object per line.
        follow: whether there will be several looks.

    Attributes:
        smoke: how many smoke runs the last look left out.
    """

    def __init__(self, tracker: Tracker, *, json: bool, follow: bool) -> None:
        self._tracker, self._json, self._follow = tracker, json, follow
        self._is_first = True
        self._noted: set[str] = set()
        self.smoke = 0

    def tell(self, brought: MirrorPass) -> None:
        """Tell it."""
        if not self._is_first and not brought.new_values:
            return
        self._is_first = False
        if self._json:
            values = self._values(brought)
            (print_json_line if self._follow else print_json)(values)
        place = self._tracker.place
        changed = sum(new > 0 for _, new in brought.written)
        new = f"{counted(brought.new_values, 'new value')} in {changed} of them"
        err().print(f"{counted(len(brought.written), 'run')} in {place}: {new}")
        if brought.waiting:
            self.note(f"not begun yet: {counted(len(brought.waiting), 'run')}")
        if brought.unreadable:
            self.note(f"unreadable runs were left out: {', '.join(brought.unreadable)}")
        if self.smoke:
            self.note(f"smoke runs were left out: {self.smoke}; --smoke mirrors them too")
        if brought.written:
            viewer = self._tracker.viewer.format(place=place)
            self.note(f"'{viewer}' shows them", kind="hint")

    def note(self, text: str, *, kind: str = "note") -> None:
        """Write a note, unless it was the same before."""
        if text not in self._noted:
            err().print(f"{kind}: {text}")
        self._noted.add(text)

    def _values(self, brought: MirrorPass) -> dict[str, object]:
        return {
            "schema_version": 1,
            "tracker": self._tracker.name(),
            "place": str(self._tracker.place),
            "runs": [
                {
                    "id": run.id,
                    "group": run.group,
                    "state": run.record.state.value,
                    "step": run.last_step,
                    "new_values": count,
                }
                for run, count in brought.written
            ],
            "waiting": list(brought.waiting),
            "unreadable": list(brought.unreadable),
        }
