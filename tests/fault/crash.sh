#!/usr/bin/env bash
# Crash points: builds the programs with them, and without (preset release), and runs the table of crash_table.py.
#     tests/fault/crash.sh [PYTEST OPTION…]      e.g. -k late_answer, or -k 'answer and not late' -n 1
# About four minutes on two cores. BOTBRIDGE_TEST_KAFKA=host:port names a running broker; BOTBRIDGE_TEST_JOBS (5) is how many
# stacks stand side by side: they mostly wait for leases and deadlines.
set -euo pipefail
cd "$(dirname "$0")/../.."

mkdir -p build
exec 9>build/.lock
flock 9 # one build at a time in a clone
for preset in release crash; do
    cmake --preset "$preset" >/dev/null
    cmake --build --preset "$preset" --target botbridge-ingress botbridge-worker botbridge botbridge-sim
done
exec 9>&-

work=$(mktemp -d)
finish() {
    tests/kafka.sh stop "$work/kafka" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
export TMPDIR=$work
if [ -z "${BOTBRIDGE_TEST_KAFKA:-}" ]; then
    BOTBRIDGE_TEST_KAFKA=$(tests/kafka.sh start "$work/kafka" | sed -n 's/.*bootstrap.servers=\([^ ]*\).*/\1/p')
    export BOTBRIDGE_TEST_KAFKA
fi
BOTBRIDGE_BUILD=crash /usr/bin/python3 -m pytest tests/fault/test_crash_points.py -q -p no:cacheprovider -n "${BOTBRIDGE_TEST_JOBS:-5}" "$@"
