#!/usr/bin/env bash
# One run of the fault harness by hand; --help lists the options.
#     tests/fault/run.sh --minutes 5 --seed 7 [--kills-only] [--ingresses 2 --workers 3 --users 30] …
# BOTBRIDGE_BUILD names the preset (release), BOTBRIDGE_BIN a directory with the programs.
set -euo pipefail
exec /usr/bin/python3 "$(dirname "$0")/run.py" "$@"
