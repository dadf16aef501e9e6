#!/usr/bin/env bash
# Apache Kafka on loopback for tests: KRaft, free ports, data in a directory of the caller's.
#
#   tests/kafka.sh fetch            jars into the user's cache, by Maven (once)
#   tests/kafka.sh start DIR [N]    N nodes (1); prints "bootstrap.servers=… pid=…[,…]"
#   tests/kafka.sh restart DIR ID   starts node ID (from 1) of DIR again; prints "pid=…"
#   tests/kafka.sh stop DIR         ends the nodes; the directory stays
#
# Needs java and, for the first fetch, mvn. Exit codes as base/error.h: 64 usage, 75 try again.
set -euo pipefail

version=3.9.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/botbridge/kafka-$version
start_tries=5
start_seconds=60

die()
{
    echo "kafka.sh: $2" >&2
    exit "$1"
}

# Two may fetch at once: each builds a directory of its own, the first rename wins.
fetch()
{
    [ -d "$cache" ] && return
    command -v mvn >/dev/null || die 75 "mvn is needed to fetch Apache Kafka $version"
    mkdir -p "$(dirname "$cache")"
    local tmp
    tmp=$(mktemp -d "$cache.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$tmp'" EXIT
    cat >"$tmp/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>botbridge</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$tmp/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$tmp/libs" >&2 || die 75 "maven could not fetch Apache Kafka"
    chmod 755 "$tmp"
    mv -T "$tmp" "$cache" 2>/dev/null || [ -d "$cache" ] || die 75 "cannot write $cache"
}

# Below the ephemeral range, so that no outgoing connection takes the port between this look
# and the bind; a clash with another listener shows as a failed start, which is tried again.
free_port()
{
    local port
    while :; do
        port=$((10000 + (RANDOM << 1 | RANDOM & 1) % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

write_log4j()
{
    cat >"$1" <<'LOG'
log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c{1} %m%n
LOG
}

# node ID PORT CONTROLLER_PORT: replication of the inner topics follows the number of nodes.
write_properties()
{
    cat <<PROPERTIES
process.roles=broker,controller
node.id=$1
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/node-$1/data
auto.create.topics.enable=false
default.replication.factor=$inner
offsets.topic.replication.factor=$inner
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=$inner
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
PROPERTIES
}

format_node()
{
    java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$cache/libs/*" \
        "-Dlog4j.configuration=file:$dir/log4j.properties" \
        kafka.tools.StorageTool format -t "$cluster" -c "$dir/node-$1/server.properties" \
        >"$dir/node-$1/format.log" 2>&1
}

launch_node()
{
    setsid java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$cache/libs/*" \
        "-Dlog4j.configuration=file:$dir/log4j.properties" \
        kafka.Kafka "$dir/node-$1/server.properties" \
        >"$dir/node-$1/server.log" 2>&1 </dev/null &
    echo $! >"$dir/node-$1/pid"
}

# The line comes after the broker was unfenced: from then on metadata answers are complete.
await_node()
{
    local log=$dir/node-$1/server.log pid end=$((SECONDS + start_seconds))
    pid=$(cat "$dir/node-$1/pid")
    until grep -q 'Kafka Server started' "$log"; do
        kill -0 "$pid" 2>/dev/null || return 1
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

start_once()
{
    local id brokers=() controllers=() servers=() pids=()
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c1-22)
    inner=$((nodes < 3 ? 1 : 3))
    voters=
    for ((id = 1; id <= nodes; id++)); do
        rm -rf "$dir/node-$id"
        mkdir -p "$dir/node-$id"
        brokers[id]=$(free_port)
        controllers[id]=$(free_port)
        voters+="${voters:+,}$id@127.0.0.1:${controllers[id]}"
    done
    for ((id = 1; id <= nodes; id++)); do
        write_properties "$id" "${brokers[id]}" "${controllers[id]}" \
            >"$dir/node-$id/server.properties"
        format_node "$id" || return 1
        launch_node "$id"
    done
    for ((id = 1; id <= nodes; id++)); do
        await_node "$id" || return 1
        servers+=("127.0.0.1:${brokers[id]}")
        pids+=("$(cat "$dir/node-$id/pid")")
    done
    local IFS=,
    echo "bootstrap.servers=${servers[*]} pid=${pids[*]}"
}

start()
{
    command -v java >/dev/null || die 75 "java is needed to run Apache Kafka"
    fetch
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd -P)
    write_log4j "$dir/log4j.properties"
    local i
    for ((i = 0; i < start_tries; i++)); do
        start_once && return
        stop
    done
    tail -n 5 "$dir"/node-*/*.log >&2 || true
    die 75 "Apache Kafka did not start; logs in $dir"
}

restart()
{
    [ -f "$dir/node-$1/server.properties" ] || die 64 "no node $1 in $dir"
    launch_node "$1"
    await_node "$1" || die 75 "node $1 did not start again; logs in $dir/node-$1"
    echo "pid=$(cat "$dir/node-$1/pid")"
}

# By pid, and only while that pid still is the node whose properties lie in this directory.
stop()
{
    local file pid
    for file in "$dir"/node-*/pid; do
        [ -f "$file" ] || continue
        pid=$(cat "$file")
        while grep -qsF "$(dirname "$file")/server.properties" "/proc/$pid/cmdline"; do
            kill -KILL "$pid" 2>/dev/null || true
            sleep 0.05
        done
        rm -f "$file"
    done
}

usage()
{
    die 64 "usage: kafka.sh fetch | start DIR [NODES] | restart DIR ID | stop DIR"
}

case ${1:-} in
fetch)
    [ $# = 1 ] || usage
    fetch
    ;;
start)
    [ $# = 2 ] || [ $# = 3 ] || usage
    dir=$2
    nodes=${3:-1}
    start
    ;;
restart)
    [ $# = 3 ] && [ -d "$2" ] || usage
    dir=$(cd "$2" && pwd -P)
    restart "$3"
    ;;
stop)
    [ $# = 2 ] && [ -d "$2" ] || usage
    dir=$(cd "$2" && pwd -P)
    stop
    ;;
*)
    usage
    ;;
esac
