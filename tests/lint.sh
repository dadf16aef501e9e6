#!/bin/sh
# Style and static analysis: tests/lint.sh [BUILD_DIR]
#
# Prints every finding as file:line and exits 1 when there is any. With a build directory that has
# been configured (compile_commands.json) clang-tidy runs too, over the files the database names.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${1-}
status=0

# Every version of clang-format lays out a little differently: Debian 12's is the one that counts.
case $(clang-format --version) in
*' version 14.'*)
    find common ingress worker deploy tests -name '*.[ch]' -print0 | sort -z |
        xargs -0 clang-format --dry-run -Werror || status=1
    ;;
*' version '*) echo "lint: layout not looked at: that takes clang-format 14" >&2 ;;
*) status=1 ;;
esac

python3 tests/lint.py || status=1

if [ -n "$build" ]; then
    if [ ! -f "$build/compile_commands.json" ]; then
        echo "$build/compile_commands.json is missing: configure the build directory first" >&2
        exit 2
    fi
    python3 tests/lint.py --tidy-files "$build" |
        xargs -r -n 1 -P "${LINT_JOBS:-$(nproc)}" \
            sh -c 'out=$(clang-tidy --quiet -p "$0" "$1" 2>/dev/null) && [ -z "$out" ] && exit 0
                   printf "%s\n" "$out"; exit 1' "$build" || status=1
fi

[ "$status" -eq 0 ] && echo "lint: nothing found"
exit "$status"
