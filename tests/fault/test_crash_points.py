"""Every step between a callback and the last settled item, and a crash right after it. Needs programs with crash points:
tests/fault/crash.sh builds them and calls this."""
import re
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "wire")]

import pytest  # noqa: E402

from conftest import kafka  # noqa: E402, F401
from crash_scene import BIN, CrashStack, Scene  # noqa: E402
from crash_table import SCENARIOS, readme_table  # noqa: E402
from stack import BUILD, ROOT, serving  # noqa: E402

PROGRAMS = ("botbridge-ingress", "botbridge-worker")
SOURCES = [p for top in ("ingress", "worker", "common/bus") for p in sorted((ROOT / top).rglob("*.c"))]
CASES = [pytest.param(s, lives, id=f"{s.name.replace(' ', '_').replace(',', '')}-{'+'.join(lives)}")
         for s in SCENARIOS for lives in s.cases]


@pytest.fixture(scope="module")
def stack(kafka):   # noqa: F811
    if not all(b"BOTBRIDGE_CRASH_AT" in (BIN / program).read_bytes() for program in PROGRAMS):
        assert BUILD != "crash", f"programs without crash points in {BIN}"
        pytest.skip("programs without crash points: use tests/fault/crash.sh")
    with serving(CrashStack(kafka)) as s:
        yield s


@pytest.mark.parametrize("scenario, lives", CASES)
def test_crash(stack, scenario, lives):
    scene = Scene(stack, scenario.victim, lives, scenario.bot)
    try:
        scenario.play(scene)
    except BaseException:
        for p in (scene.victim, stack.spare):
            print(f"--- {p.name}: {p.log.read_text(errors='replace')[-6000:] if p.log.exists() else ''}")
        restore(stack)
        raise
    if scenario.victim == "ingress":
        restore(stack, only_dead=True)


def restore(stack, only_dead=False):
    """After a failure the next case finds what it would have found."""
    stack.redis.process.thaw()
    if not stack.redis.process.alive:
        stack.redis.start()
    for p in (*stack.ingresses, *stack.workers):
        if only_dead and p.alive:
            continue
        p.kill()
        p.env = stack.env
        p.start()
    if not only_dead:
        stack.spare.kill()


def test_every_point_is_in_the_table():
    code = {name for p in SOURCES for name in re.findall(r'crash_point(?:_of)?\("([^"]+)"', p.read_text())}
    table = {re.sub("[/:~].*", "", point) for s in SCENARIOS for lives in s.cases for point in lives}
    assert code == table


# What leaves a mark outside the process. Each is followed by a point, and so is the entrance of whoever hears of it.
MARKS = re.compile(r"\b(store_(open|close|read|shown|claim|put|note|finish|settle|release)|accept_record|letters_(dead|late|answer)|delivery_start|"
                   r"bus_consumer_complete|intake_complete|rd_kafka_commit(_queue)?)\s*\(|->start\(")
HEARS = re.compile(r"^static void (\w+)\((?:const struct store_reply \*reply|enum brg_err err, const char \*reason), void \*arg\)\n\{(.*?)^\}", re.M | re.S)
# Heard of by another function, which has the point; and what is only a declaration of intent.
ELSEWHERE = {"worker/session/session_settle.c": ["letters_dead", "letters_answer", "on_dead_letter", "on_event"], "ingress/accept.c": ["on_report"],
             "ingress/bosshi_event.c": ["on_buried"], "ingress/publish.c": ["on_letter"], "ingress/events.c": ["on_letter"],
             "worker/intake.c": ["bus_consumer_complete"], "worker/session/session_chat_note.c": ["store_note", "on_renoted"], "worker/letters.c": ["letters_dead", "letters_late", "letters_answer"]}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[-2] != "pipelines"], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_step_is_without_a_point(path):
    text, name = path.read_text(), str(path.relative_to(ROOT))
    known = ELSEWHERE.get(name, [])
    lines = text.split("\n")
    for number, line in enumerate(lines):
        found = MARKS.search(line)
        if not found or not line.startswith("    ") or found.group(1) in known:
            continue
        assert "crash_point" in "\n".join(lines[number:number + 8]), f"{name}:{number + 1}: {line.strip()} has no crash point after it"
    for function, body in HEARS.findall(text):
        assert "crash_point" in body or function in known, f"{name}: {function} has no crash point"


def test_released_programs_have_none():
    directory = ROOT / "build" / "release" / "bin"
    for program in (*PROGRAMS, "botbridge"):
        assert (directory / program).exists(), f"{directory / program} is missing: build the release preset"
        symbols = subprocess.run(["nm", directory / program], check=True, stdout=subprocess.PIPE).stdout.decode()
        strings = subprocess.run(["strings", "--data", directory / program], check=True, stdout=subprocess.PIPE).stdout.decode()
        assert "crash_point" not in symbols and "CRASH_AT" not in strings and "crash_point" not in strings
        assert "claim.granted" not in strings and "request.produced" not in strings


def test_the_readme_has_the_table():
    assert readme_table() in (ROOT / "tests" / "fault" / "README.md").read_text()
