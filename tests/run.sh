#!/usr/bin/env bash
# All tests: builds release and asan, runs the unit tests and the wire tests of both, then two short fault runs of release
# and the crash points: the programs die after every step.
#     tests/run.sh [--fast]          --fast: release only, no crash points
# Installs the Debian packages it needs (root only if some are missing). Everything runs on free loopback ports, so two
# runs can live side by side. Apache Kafka comes from Maven Central once and is kept in the user's cache.
set -euo pipefail
cd "$(dirname "$0")/.."

presets=(release asan)
case "${1:-}" in
--fast) presets=(release) ;;
"") ;;
*) sed -n '2,6p' "$0" >&2; exit 64 ;;
esac

deploy/packages.sh build run test kafka
tests/kafka.sh fetch
mkdir -p build
exec 9>build/.lock
flock 9 # one build at a time in a clone
for preset in "${presets[@]}"; do
    cmake --preset "$preset" >/dev/null
    cmake --build --preset "$preset"
done
exec 9>&-

work=$(mktemp -d)
export TMPDIR=$work
unit=
finish() {
    local dir
    [ -z "$unit" ] || kill "$unit" 2>/dev/null || true
    for dir in "$work"/*kafka*/; do # ours, and what a test that was killed left
        [ ! -d "$dir" ] || tests/kafka.sh stop "$dir" || true
    done
    rm -rf "$work"
}
trap finish EXIT
# A broker for each part: the topics of a thousand tests make one slow.
with_kafka() { # command…
    local dir=$work/kafka code=0 servers
    servers=$(tests/kafka.sh start "$dir" | sed -n 's/.*bootstrap.servers=\([^ ]*\).*/\1/p')
    BOTBRIDGE_TEST_KAFKA=$servers "$@" || code=$?
    tests/kafka.sh stop "$dir" >/dev/null 2>&1 || true
    rm -rf "$dir"
    return "$code"
}

jobs=${BOTBRIDGE_TEST_JOBS:-12} # most tests wait for most of their time
passed=0 failed=0
status=0
count() { # takes the last line of a log of pytest into the sum
    local last
    last=$(tail -n 1 "$1")
    passed=$((passed + $(grep -oE '[0-9]+ passed' <<<"$last" | grep -oE '[0-9]+' || echo 0)))
    failed=$((failed + $(grep -oE '[0-9]+ failed' <<<"$last" | grep -oE '[0-9]+' || echo 0)))
    failed=$((failed + $(grep -oE '[0-9]+ error' <<<"$last" | grep -oE '[0-9]+' || echo 0)))
}
for preset in "${presets[@]}"; do
    echo "== wire tests, $preset; unit tests beside them: both wait for most of their time"
    ctest --preset "$preset" --no-tests=error -j $(((jobs + 2) / 3)) >"$work/unit.log" 2>&1 &
    unit=$!
    side=$jobs
    [ "$preset" = release ] || side=$(((2 * jobs + 2) / 3)) # sanitizers take more of the processor
    BOTBRIDGE_BUILD=$preset with_kafka /usr/bin/python3 -m pytest tests/wire -q -p no:cacheprovider -n "$side" --dist loadgroup \
        2>&1 | tee "$work/wire.log" || status=1
    count "$work/wire.log"
    echo "== unit tests, $preset"
    wait "$unit" || status=1
    unit=
    cat "$work/unit.log"
    bad=$(sed -nE 's/.* ([0-9]+) tests failed out of [0-9]+$/\1/p' "$work/unit.log")
    all=$(sed -nE 's/.* tests failed out of ([0-9]+)$/\1/p' "$work/unit.log")
    passed=$((passed + ${all:-0} - ${bad:-0})) failed=$((failed + ${bad:-0}))
done
echo "== fault runs, release: a fixed seed and a random one"
# Each has brokers of its own. The rules themselves are tested first, on made-up histories.
BOTBRIDGE_BUILD=release /usr/bin/python3 -m pytest tests/fault/test_check.py tests/fault/test_faults.py -q -p no:cacheprovider -n 2 \
    2>&1 | tee "$work/fault.log" || status=1
count "$work/fault.log"
if [ "${1:-}" != --fast ]; then
    echo "== crash points"
    BOTBRIDGE_TEST_JOBS=$jobs tests/fault/crash.sh 2>&1 | tee "$work/crash.log" || status=1
    count "$work/crash.log"
fi
[ $status -eq 0 ] || [ "$failed" -gt 0 ] || echo "a test runner ended badly, see above" >&2
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] || status=1
exit $status
