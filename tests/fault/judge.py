"""Judges a kept run again: judge.py DIR [QUESTION…] prints its violations, or the bubbles of these questions."""
import pickle
import sys
from pathlib import Path

import check
import report


def main():
    directory = Path(sys.argv[1])
    with open(directory / "history.pickle", "rb") as f:
        h = pickle.load(f)

    def lines_about(stream):
        return [f"{log.stem}: {line}" for log in sorted(directory.glob("*.log")) for line in log.read_text(errors="replace").splitlines() if stream in line]
    violations = check.judge(h)
    if len(sys.argv) > 2:
        violations = [check.Violation("asked for", "", h.questions[int(n)], h.questions[int(n)].over) for n in sys.argv[2:]]
    for v in violations:
        report.write_violation(h, v, lines_about, print)
    print(f"{len(violations)} violations" if len(sys.argv) == 2 else "")


if __name__ == "__main__":
    main()
