"""Two cores, what runs on them, and what it cost.

This process, Redis, Kafka and wrk are on the second core; what is measured is alone on the first."""
import ctypes
import json
import os
import resource
import subprocess
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
MEASURED, LOAD = CORES[0], CORES[1 % len(CORES)]


def sit_on_load_core():
    os.sched_setaffinity(0, {LOAD})     # inherited by everything that is started


def on_measured_core(argv):
    return ["taskset", "-c", str(MEASURED), *map(str, argv)]


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def waited_seconds(pid):
    """Of the main thread: ready to run while others had the core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def resident_kb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


class Run:
    """One run of wrk: what it counted, and the processor time of everything that took part."""

    def __init__(self, wrk, seconds, measured_cpu, load_cpu):
        self.wrk, self.requests = wrk, wrk["requests"]
        self.rate = wrk["requests"] / wrk["seconds"]
        self.p50_ms, self.p99_ms = wrk["p50_us"] / 1000, wrk["p99_us"] / 1000
        self.cpu_us = 1e6 * measured_cpu / max(1, self.requests)
        self.busy = measured_cpu / seconds
        self.load = {name: cpu / seconds for name, cpu in load_cpu.items()}


def run_wrk(port, lines, connections, seconds, measured, others, is_kept=True, once=False, meanwhile=None):
    """`measured` is a pid, `others` are pids by name. `meanwhile` is called in mid-run; what it raises is raised here."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", HERE / "replay.lua"]
    if not is_kept:
        argv += ["-H", "Connection: close"]
    argv += [f"http://127.0.0.1:{port}", "--", lines] + (["once"] if once else [])
    pids = {"": measured, **others}
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    wrk_before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    wrk = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE)
    failure = _watch(wrk, seconds / 2, meanwhile)
    out = wrk.stdout.read().decode()
    assert wrk.wait() == 0, out
    took = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if failure:
        raise failure[0]
    cost = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    cost["wrk"] = after.ru_utime + after.ru_stime - wrk_before.ru_utime - wrk_before.ru_stime
    return Run(json.loads(out.splitlines()[-1]), took, cost.pop(""), cost)


def _watch(wrk, after_seconds, call):
    failure = []

    def body():
        try:
            wrk.wait(after_seconds)
        except subprocess.TimeoutExpired:
            try:
                call()
            except BaseException as e:  # raised again by the caller
                failure.append(e)
    if call:
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    return failure


def machine():
    def first(path, key):
        return next((l.split(":", 1)[1].strip() for l in Path(path).read_text().splitlines() if l.startswith(key)), "?")
    model = first("/proc/cpuinfo", "model name")
    return f"{model}, {len(CORES)} of {os.cpu_count()} cores, {os.uname().sysname} {os.uname().release}, load {os.getloadavg()[0]:.1f}"


def libc_version():
    version = ctypes.CDLL(None).gnu_get_libc_version
    version.restype = ctypes.c_char_p
    return version().decode()


def said(argv, word=0):
    """A line that a program prints about itself, or None when it cannot be run."""
    try:
        lines = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20).stdout.decode().splitlines()
        return lines[word] if lines else None
    except OSError:
        return None
