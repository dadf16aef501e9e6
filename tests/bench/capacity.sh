#!/usr/bin/env bash
# What one worker carries, how soon another takes over, and whether anybody waits behind a slow answer; prints tables.
#     tests/bench/capacity.sh [streams|recovery|line] [option…]     all three without a word; options are the program's own
# Installs the Debian packages it needs (root only if some are missing) and builds release. BOTBRIDGE_BIN names another build.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-}" in
streams | recovery | line) parts=("$1") && shift ;;
"") parts=(streams recovery line) ;;
*) sed -n '2,4p' "$0" >&2; exit 64 ;;
esac

deploy/packages.sh build run test kafka bench
tests/kafka.sh fetch
if [ -z "${BOTBRIDGE_BIN:-}" ]; then
    cmake --preset release >/dev/null
    cmake --build --preset release --target botbridge-ingress botbridge-worker botbridge botbridge-sim >/dev/null
fi
declare -A program=([streams]=capacity.py [recovery]=recovery.py [line]=headofline.py)
for part in "${parts[@]}"; do
    /usr/bin/python3 "tests/bench/${program[$part]}" "$@"
done
