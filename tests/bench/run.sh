#!/usr/bin/env bash
# Measures botbridge on this machine, beside an empty HTTP handler and the official WeCom plugin, and prints one table.
#     tests/bench/run.sh [--quick]     --quick: two sizes, one short run each instead of the median of three
# Installs the Debian packages it needs (root only if some are missing) and builds release. Apache Kafka and the plugin come
# from Maven Central and npm once and are kept in the user's cache. Needs two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-}" in
--quick | "") ;;
*) sed -n '2,5p' "$0" >&2; exit 64 ;;
esac

# The plugin at the versions of peer/package-lock.json. Says why when it cannot be had; the rest is measured all the same.
fetch_peer() {
    local source=tests/bench/peer name cache tmp
    command -v node >/dev/null || { echo "node is missing"; return 1; }
    command -v npm >/dev/null || { echo "npm is missing"; return 1; }
    name=bench-peer-$(cat $source/package-lock.json $source/openclaw/* | sha256sum | cut -c1-12)
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/botbridge/$name
    peer=$cache/node_modules
    [ -d "$peer" ] && return
    mkdir -p "$(dirname "$cache")"
    tmp=$(mktemp -d "$cache.XXXXXX")
    cp -r $source/package.json $source/package-lock.json $source/openclaw "$tmp"
    if ! (cd "$tmp" && npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1); then
        echo "npm could not fetch it: $(grep -m1 'error' "$tmp/npm.log" || tail -n1 "$tmp/npm.log")"
        rm -rf "$tmp"
        return 1
    fi
    chmod 755 "$tmp"
    mv -T "$tmp" "$cache" 2>/dev/null || [ -d "$peer" ] || { echo "cannot write $cache"; return 1; }
}

deploy/packages.sh build run test kafka bench
tests/kafka.sh fetch
if [ -z "${BOTBRIDGE_BIN:-}" ]; then
    cmake --preset release >/dev/null
    cmake --build --preset release --target botbridge-ingress botbridge-worker botbridge bench_codec empty_http >/dev/null
fi

peer='' no_peer=$(mktemp)
trap 'rm -f "$no_peer"' EXIT
fetch_peer >"$no_peer" || peer=''
/usr/bin/python3 tests/bench/bench.py ${1:+"$1"} ${peer:+--peer-modules "$peer"} --no-peer "$(cat "$no_peer")"
