#!/usr/bin/env bash
# First steps: builds botbridge, starts all it needs on this machine (loopback only), asks a question
# as a user of the platform would, prints the answer as it grows, and stops everything.
#
#   deploy/quickstart.sh [options] [QUESTION]
#
#   --platform NAME  wecom (default) or bosshi: whose user asks; a simulator plays the platform
#   --pipeline URL   let an OpenAI-compatible endpoint answer instead of an echo (URL up to /v1);
#                    a key for it is taken from the environment: OPENAI_API_KEY
#   --model NAME     its model (default)
#   --real-kafka     Apache Kafka instead of the embedded broker (installs Java and Maven)
#   --keep           leave everything running and say what to try next
#
# Needs root only when Debian packages are missing. Progress goes to stderr, the answer to stdout.
# Exit codes: 0 answered, 1 not answered (the reason is on stderr), 64 usage, 75 packages are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=$root/build/release/bin

question=
platform=wecom
pipeline_url=
model=default
real_kafka=
keep=

usage()
{
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$root/deploy/quickstart.sh"
}

value_of()
{
    [ $# -ge 2 ] || { echo "quickstart: $1 wants a value" >&2; exit 64; }
    echo "$2"
}

while [ $# -gt 0 ]; do
    case $1 in
    --platform) platform=$(value_of "$@") || exit 64; shift ;;
    --pipeline) pipeline_url=$(value_of "$@") || exit 64; shift ;;
    --model) model=$(value_of "$@") || exit 64; shift ;;
    --real-kafka) real_kafka=yes ;;
    --keep) keep=yes ;;
    --help) usage; exit 0 ;;
    -*) usage >&2; exit 64 ;;
    *) [ -z "$question" ] || { echo "quickstart: one question only: put it in quotes" >&2; exit 64; }
        question=$1 ;;
    esac
    shift
done
case $platform in
wecom | bosshi) ;;
*) echo "quickstart: --platform wecom or bosshi" >&2; exit 64 ;;
esac
question=${question:-你好！请把这句话慢慢念给我听，好让我看到回答一点一点长出来。}

say()
{
    printf '%s\n' "$*" >&2
}

# --- what happens when it ends, whichever way ---

work=$(umask 077 && mktemp -d "${TMPDIR:-/tmp}/botbridge-quickstart-XXXXXX")
child=
is_kept=

clean_up()
{
    trap '' INT TERM HUP
    if [ -n "$child" ]; then
        kill -- "-$child" 2>/dev/null || true
        wait "$child" || true
    fi
    [ -n "$is_kept" ] || "$work/stop.sh"
}

# Not between the start of a process and the note of its pid: what is not noted is not stopped.
is_noting=
signal=
on_signal()
{
    signal=$1
    [ -n "$is_noting" ] || exit "$1"
}

noted()
{
    is_noting=
    [ -z "$signal" ] || exit "$signal"
}

trap clean_up EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM
trap 'on_signal 129' HUP

# One way to stop for this script and for whoever used --keep. A process is known by its pid and its
# start time, so that a pid that was given to another one is left alone.
cat >"$work/stop.sh" <<STOP
#!/usr/bin/env bash
# Ends what quickstart.sh started from here and removes this directory.
set -u
work=$(printf %q "$work")
kafka=$(printf %q "$root/tests/kafka.sh")
STOP
cat >>"$work/stop.sh" <<'STOP'
is_running() # PID STARTED
{
    local stat
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086 # the fields behind the name: state, …, the 20th is the start time
    set -- "$2" ${stat##*) }
    [ "$2" != Z ] && [ "${21}" = "$1" ]
}

end() # NAME…: SIGTERM to all, then up to 15 s for them to end
{
    local pattern name pid started deadline=$((SECONDS + 15))
    pattern=" $* "
    while read -r name pid started; do
        [[ $pattern == *" $name "* ]] && is_running "$pid" "$started" && kill "$pid"
    done <"$work/pids"
    while read -r name pid started; do
        [[ $pattern == *" $name "* ]] || continue
        while is_running "$pid" "$started" && [ $SECONDS -lt $deadline ]; do sleep 0.05; done
        is_running "$pid" "$started" && kill -KILL "$pid"
    done <"$work/pids"
}

if [ -f "$work/pids" ]; then
    end ingress worker
    end redis broker
fi
[ ! -d "$work/kafka" ] || "$kafka" stop "$work/kafka"
rm -rf "$work"
STOP
chmod 700 "$work/stop.sh"

# fail PART [LOG]
fail()
{
    local log=${2:-$work/$1.log}
    say ""
    say "quickstart: $1 failed."
    if [ -s "$log" ]; then
        say "The last lines of its log:"
        tail -n 15 "$log" | sed 's/^/    /' >&2
    fi
    exit 1
}

# A signal interrupts the wait for a background child at once. The child has a process group of its
# own (set -m), so that what it has started ends with it.
run()
{
    local status=0
    is_noting=yes
    set -m
    "$@" &
    child=$!
    set +m
    noted
    wait "$child" || status=$?
    child=
    return $status
}

# --- building ---

build()
{
    mkdir -p build && exec 9>build/.lock && flock 9 && # one at a time in a clone
        cmake --preset release && cmake --build --preset release --target \
            botbridge botbridge-broker botbridge-ingress botbridge-worker botbridge-sim
}

packages=0
deploy/packages.sh build run ${real_kafka:+kafka} || packages=$?
[ $packages -ne 75 ] || exit 75 # it has said what to do
[ $packages -eq 0 ] || fail "installing packages" /dev/null
if [ -x "$bin/botbridge-sim" ]; then say "building …"; else say "building (some minutes the first time) …"; fi
run build >"$work/build.log" 2>&1 || fail build

# --- starting ---

started_at()
{
    local stat
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo "${20}"
}

# start NAME COMMAND…: in a session of its own, so that the terminal's signals come to us alone
declare -A pids
start()
{
    local name=$1
    shift
    is_noting=yes
    setsid "$@" </dev/null >"$work/$name.log" 2>&1 &
    pids[$name]=$!
    echo "$name $! $(started_at $!)" >>"$work/pids"
    noted
}

# await NAME SECONDS CONDITION…: false when NAME has ended or the time is up
await()
{
    local name=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" 2>/dev/null; do
        kill -0 "${pids[$name]}" 2>/dev/null || return 1
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

# Value of NAME=… in the line that says that a program is ready.
ready_value()
{
    sed -n "s/^ready .*\b$2=\([^ ]*\).*/\1/p" "$work/$1.log"
}

start_ready()
{
    start "$@"
    await "$1" 30 grep -q '^ready ' "$work/$1.log" || fail "$1"
}

redis_answers()
{
    [ "$(redis-cli -h 127.0.0.1 -p "$redis_port" ping)" = PONG ]
}

random_port()
{
    echo $((10000 + (RANDOM << 1 | RANDOM & 1) % 20000))
}

# The port may be taken between the choice and the bind: then another one.
start_redis()
{
    local tries
    for tries in 1 2 3 4 5; do
        redis_port=$(random_port)
        start redis redis-server --bind 127.0.0.1 --port $redis_port --save "" --appendonly no --dir "$work"
        await redis 10 redis_answers && return
    done
    fail redis
}

start_kafka()
{
    say "starting Apache Kafka (fetched the first time: some minutes) …"
    run tests/kafka.sh start "$work/kafka" >"$work/kafka.log" 2>&1 || fail kafka
    servers=$(sed -n 's/.*bootstrap\.servers=\([^ ]*\).*/\1/p' "$work/kafka.log")
}

start_broker()
{
    say "starting the embedded broker: NOT DURABLE, its records live in memory (--real-kafka is the real thing) …"
    start_ready broker "$bin/botbridge-broker"
    servers=$(ready_value broker bootstrap.servers)
}

random_text()
{
    local text
    text=$(head -c 256 /dev/urandom | base64 -w 0 | tr -dc A-Za-z0-9)
    echo "${text:0:$1}"
}

json_text()
{
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    echo "\"${text//\$\{/\$\$\{}\""
}

write_pipeline()
{
    if [ -z "$pipeline_url" ]; then
        echo '{ "type": "echo", "rate": 10 }'
        return
    fi
    local key=
    # shellcheck disable=SC2016 # the programs read the variable; the file does not hold the key
    [ -z "${OPENAI_API_KEY:-}" ] || key=', "api_key": "${OPENAI_API_KEY}"'
    printf '{ "type": "openai", "url": %s, "model": %s%s }\n' "$(json_text "$pipeline_url")" \
        "$(json_text "$model")" "$key"
}

write_secrets()
{
    if [ "$platform" = wecom ]; then
        printf '"token": "%s", "aes_key": "%s"\n' "$BOTBRIDGE_SIM_TOKEN" "$BOTBRIDGE_SIM_AES_KEY"
        return
    fi
    printf '"app_id": "%s", "app_secret": "%s", "api_base": "http://%s",\n' \
        "$BOTBRIDGE_SIM_APP_ID" "$BOTBRIDGE_SIM_APP_SECRET" "$api"
    printf '      "verification_token": "%s", "encrypt_key": "%s"\n' \
        "$BOTBRIDGE_SIM_VERIFICATION_TOKEN" "$BOTBRIDGE_SIM_ENCRYPT_KEY"
}

write_config()
{
    cat <<CONFIG
{
  "ingress": { "listen": "127.0.0.1:0", "admin": "127.0.0.1:0" },
  "worker": { "admin": "127.0.0.1:0", "drain_ms": 2000 },
  "kafka": { "bootstrap.servers": "$servers", "allow_unsafe_durability": true },
  "store": { "url": "redis://127.0.0.1:$redis_port/0" },
  "bots": [
    {
      "name": "helpdesk",
      "platform": "$platform",
      "pipeline": "main",
      $(write_secrets)
    }
  ],
  "pipelines": { "main": $(write_pipeline) }
}
CONFIG
}

api=
if [ "$platform" = wecom ]; then
    BOTBRIDGE_SIM_TOKEN=$(random_text 24)
    BOTBRIDGE_SIM_AES_KEY=$(random_text 43)
    secrets=(BOTBRIDGE_SIM_TOKEN BOTBRIDGE_SIM_AES_KEY)
else
    api=127.0.0.1:$(random_port) # where the simulator will serve BOSSHI's API
    BOTBRIDGE_SIM_APP_ID=bli_$(random_text 16)
    BOTBRIDGE_SIM_APP_SECRET=$(random_text 32)
    BOTBRIDGE_SIM_VERIFICATION_TOKEN=$(random_text 32)
    BOTBRIDGE_SIM_ENCRYPT_KEY=$(random_text 32)
    secrets=(BOTBRIDGE_SIM_APP_ID BOTBRIDGE_SIM_APP_SECRET BOTBRIDGE_SIM_VERIFICATION_TOKEN
        BOTBRIDGE_SIM_ENCRYPT_KEY)
fi
export "${secrets[@]}"

if [ -n "$real_kafka" ]; then start_kafka; else start_broker; fi
say "starting redis, worker, ingress …"
start_redis
(umask 077 && write_config >"$work/config.json")
"$bin/botbridge" check "$work/config.json" >"$work/config.log" 2>&1 || fail config
if [ -n "$real_kafka" ]; then
    "$bin/botbridge" topics create "$work/config.json" >"$work/topics.log" 2>&1 || fail topics
fi
start_ready worker "$bin/botbridge-worker" --config "$work/config.json"
start_ready ingress "$bin/botbridge-ingress" --config "$work/config.json"

# --- asking ---

# The worker's own count: an apology, or an end that ingress had to write, is no answer.
is_answered()
(
    exec 3<>"/dev/tcp/127.0.0.1/$(ready_value worker admin)" &&
        printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 &&
        grep -q '^botbridge_worker_answers_total{outcome="done"} [1-9]' <&3
)

url=http://127.0.0.1:$(ready_value ingress listen)/$platform/helpdesk
chat=("$bin/botbridge-sim" "$platform" chat --url "$url" ${api:+--listen "$api"})
say ""
say "user:  $question"
say "bot:"
run "${chat[@]}" "$question" || fail "the answer" "$work/worker.log"
if grep -E ' (warn session|error [a-z]+) ' "$work/worker.log" >"$work/warnings"; then
    say ""
    say "The worker had trouble with it:"
    tail -n 5 "$work/warnings" | sed 's/^/    /' >&2
fi
status=0
if ! await worker 2 is_answered; then
    say ""
    say "quickstart: the pipeline did not answer; what the bot said is the text for that case."
    [ -z "$pipeline_url" ] || say "Does something answer at $pipeline_url, with this model and key?"
    status=1
fi

[ -n "$keep" ] || exit $status

(umask 077 && for name in "${secrets[@]}"; do printf '%s=%s\n' "$name" "${!name}"; done >"$work/bot.env")
is_kept=yes
there=$(printf %q "$work")
sim=$(printf %q "$bin/botbridge-sim")
talk=
many=
if [ "$platform" = wecom ]; then
    talk=", or talk (without the question)"
    many="
  many users at once
      env \$(cat $there/bot.env) $sim wecom load --url $url"
fi
cat >&2 <<NEXT

It goes on running. What to try next:

  ask again$talk
      env \$(cat $there/bot.env) $sim $platform chat --url $url ${api:+--listen $api }你好$many
  another pipeline: edit $there/config.json, then
      kill -HUP ${pids[ingress]} ${pids[worker]}
  states and figures
      http://127.0.0.1:$(ready_value ingress admin)/metrics   ingress; also /readyz
      http://127.0.0.1:$(ready_value worker admin)/metrics   worker; also /readyz
  logs
      $there/*.log
  stop everything and remove $there
      $there/stop.sh
NEXT
exit $status
