"""What a run has to say: seed, schedule as it happened, counts, and every violation with the history of its bubble."""
from collections import Counter

from check import FAILS, parts

NEAR_S = 12.0
SHOWN_VIOLATIONS = 25


def dead_letters(h):
    """By reason and error: those of questions that were to fail, whatever hits them, and those that a fault has to explain."""
    of_stream = {q.stream: q for q in h.questions}
    planned, explained = Counter(), Counter()
    for r in h.dead_letters:
        q = of_stream.get(r.headers.get("bb-stream", r.stream))
        kind = f"{r.headers.get('bb-reason')} ({r.headers.get('bb-error') or 'no error'}, attempts {r.headers.get('bb-attempts')})"
        (planned if q and FAILS & set(q.directives) else explained)[kind] += 1
    for what, letters in (("planned by the question", planned), ("caused by faults", explained)):
        yield f"dead letters {what} {sum(letters.values())}: " + ("; ".join(f"{k} {n}" for k, n in letters.most_common()) or "none")


def counts(h, injector):
    ended = Counter(parts(h, q.end.content)[0] if q.end else ("open" if q.shown else "never heard") for q in h.questions)
    events = [e for q in h.questions for e in q.events]
    made = Counter(c.question for c in h.calls)
    again = sum(made[q.text] - 1 for q in h.questions if made[q.text] > 1 and not {"fail", "cut", "junk"} & set(q.directives))
    faults = Counter(f.kind for f in h.faults)
    epochs = sum(max(0, len({k.epoch for k in looks if k.epoch}) - 1) for looks in h.looks.values())
    times = sorted(q.end.got - q.asked for q in h.questions if q.end)
    return [
        f"questions {len(h.questions)}: accepted {sum(1 for q in h.questions if q.accepted is not None)}; ended with "
        + ", ".join(f"{k} {n}" for k, n in sorted(ended.items())),
        f"seconds to the end: median {times[len(times) // 2]:.1f}, longest {times[-1]:.1f}" if times else "no question ended",
        f"requests {len(events)}: " + ", ".join(f"{k} {n}" for k, n in sorted(Counter(e.outcome for e in events).items())),
        f"deliveries repeated {sum(max(0, sum(1 for e in q.events if e.kind == 'send') - 1) for q in h.questions)}; "
        f"pipeline calls {len(h.calls)}, of these after takeovers and retries {again}; records {len(h.records)}, "
        f"dead letters {len(h.dead_letters)}, answer events {len(h.answer_events)}, response_url {len(h.deliveries)}",
        *dead_letters(h),
        f"faults {len(h.faults)} ({', '.join(f'{k} {n}' for k, n in sorted(faults.items()))}), skipped {injector.skipped}; "
        f"process kills {injector.kills}; takeovers seen in the store {epochs}",
    ]


def _event_line(h, e):
    if not e.is_shown:
        return f"{e.sent:8.2f} +{e.got - e.sent:.2f} {e.kind} ingress{e.ingress} {e.outcome} {e.detail}"
    kind, text = parts(h, e.content)
    return f"{e.sent:8.2f} +{e.got - e.sent:.2f} {e.kind} ingress{e.ingress} finish={str(e.finish).lower()} {kind} {len(text)} …{e.content[-24:]!r}"


def bubble(h, q):
    """Every request about a question; polls that showed the same again are counted together."""
    lines, same, last = [], 0, None
    for e in q.events:
        now = (e.outcome, e.finish, e.content, e.kind)
        if now == last and e.is_shown:
            same += 1
            continue
        if same:
            lines.append(f"         … {same} times the same")
        lines.append(_event_line(h, e))
        same, last = 0, now
    if same:
        lines.append(f"         … {same} times the same")
    return lines


def write(h, violations, injector, world, out):
    out(f"seed {h.seed}")
    out("schedule as it happened:")
    for f in h.faults:
        out(f"  {f}")
    for at, late in h.lags:
        out(f"  {at:8.2f}  this harness stood still for {late:.1f} s")
    for line in counts(h, injector):
        out(line)
    rules = Counter(v.rule for v in violations)
    out("violations: " + (", ".join(f"{r} {n}" for r, n in sorted(rules.items())) or "none"))
    for v in violations[:SHOWN_VIOLATIONS]:
        write_violation(h, v, world.lines_about, out)
    if len(violations) > SHOWN_VIOLATIONS:
        out(f"… and {len(violations) - SHOWN_VIOLATIONS} more")


def write_violation(h, v, lines_about, out):
    out(f"\n!! {v.rule}: {v.text}")
    q = v.question
    if q is not None:
        out(f"   question {q.number} of {q.user}, stream {q.stream}, answer of {len(q.answer(0))} characters, {q.directives}")
        for line in bubble(h, q):
            out("     " + line)
        last = None
        for k in h.looks.get(q.stream, []):
            if (k.state, k.epoch) != last or v.rule == "store_grows" and abs(k.at - v.at) < 1:
                out(f"     {k.at:8.2f}       store has {k.state or 'nothing'}, epoch {k.epoch}, text of {len(k.text)}")
            last = (k.state, k.epoch)
        for c in h.calls:
            if c.question == q.text:
                out(f"     {c.at:8.2f}       pipeline called: status {c.status}{'' if c.is_complete else ', not read to its end'}")
        for line in lines_about(q.stream):
            out("     log " + line[:220])
    around = h.near((q.asked if q is not None else v.at or 0) - 1, v.at if v.at is not None else 1e9, NEAR_S)
    for f in around:
        out(f"     near {f}")
