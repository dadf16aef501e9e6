#!/usr/bin/env bash
# Installs the Debian packages that a task needs, if any is missing:
#     deploy/packages.sh build|run|test|kafka …
# Needs root only when something is missing.
set -euo pipefail

wanted=()
for group in "$@"; do
    case "$group" in
    build) wanted+=(gcc libc6-dev cmake ninja-build pkg-config libmicrohttpd-dev librdkafka-dev libssl-dev libjson-c-dev
        libhiredis-dev libcurl4-openssl-dev libuv1-dev libcmocka-dev) ;;
    run) wanted+=(redis-server) ;;
    kafka) wanted+=(default-jre-headless maven) ;;
    test) wanted+=(liblua5.1-0-dev redis-server redis-tools kcat python3 python3-pytest python3-pytest-xdist python3-cryptography) ;;
    bench) wanted+=(redis-server redis-tools wrk python3 python3-cryptography nodejs npm) ;;
    lint) wanted+=(clang-format clang-tidy python3) ;;
    *) echo "packages.sh: unknown group '$group' (build run test kafka bench lint)" >&2; exit 64 ;;
    esac
done

missing=()
for package in "${wanted[@]}"; do
    [[ " ${missing[*]} " != *" $package "* ]] || continue
    case "$package" in # any java and any maven will do, however they were installed
    default-jre-headless) command -v java >/dev/null && continue ;;
    maven) command -v mvn >/dev/null && continue ;;
    nodejs) command -v node >/dev/null && continue ;;
    npm) command -v npm >/dev/null && continue ;;
    esac
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then as_root=(); elif command -v sudo >/dev/null; then as_root=(sudo); else
    echo "These packages are missing; as root, run:
    apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 75
fi
echo "installing: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq >&2
# A machine that has just started may be installing its own updates: waited for.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
