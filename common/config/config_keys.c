#include "config/config_keys.h"

#define SECTION(field) offsetof(struct config, field)
#define BOT(field) offsetof(struct config_bot, field)
#define BOSSHI(field) offsetof(struct config_bot, bosshi.field)
#define PIPELINE(field) offsetof(struct config_pipeline, field)

#define TEXT(name_, type_, offset_, default_, flags_, help_)                      \
    {                                                                             \
        .name = (name_), .type = (type_), .flags = (flags_), .offset = (offset_), \
        .text = (default_), .help = (help_)                                       \
    }
#define NUMBER(name_, type_, offset_, default_, min_, max_, help_)                   \
    {                                                                                \
        .name = (name_), .type = (type_), .offset = (offset_), .number = (default_), \
        .min = (min_), .max = (max_), .help = (help_)                                \
    }
#define ROTATED(name_, type_, offset_, count_offset_, flags_, help_)              \
    {                                                                             \
        .name = (name_), .type = (type_), .flags = (flags_), .offset = (offset_), \
        .count_offset = (count_offset_), .help = (help_)                          \
    }
#define CHOICE(name_, type_, offset_, default_, choices_, flags_, help_)          \
    {                                                                             \
        .name = (name_), .type = (type_), .flags = (flags_), .offset = (offset_), \
        .text = (default_), .choices = (choices_), .help = (help_)                \
    }
#define KEYS(list) .keys = (list), .key_count = sizeof(list) / sizeof((list)[0])

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)

static const struct config_key ingress_keys[] = {
    TEXT("listen", KEY_LISTEN, SECTION(ingress.listen), "127.0.0.1:8080", 0,
         "Address of the callbacks, `HOST:PORT` or `[IPv6]:PORT`; port 0 takes a free one."),
    TEXT("admin", KEY_LISTEN, SECTION(ingress.admin), "127.0.0.1:9080", 0,
         "Address of `/livez`, `/readyz` and `/metrics`; not for the public."),
    NUMBER("share_port", KEY_BOOL, SECTION(ingress.share_port), 0, 0, 1,
           "Several ingress processes of one host listen on the same port (SO_REUSEPORT)."),
    NUMBER("max_body_bytes", KEY_INT, SECTION(ingress.max_body_bytes), 256 * KIB, KIB,
           640 * KIB, "Larger callbacks of WeCom are refused with 413."),
    NUMBER(
        "bosshi_max_body_bytes", KEY_INT, SECTION(ingress.bosshi_max_body_bytes), MIB, KIB, MIB,
        "The same for BOSSHI. What is too large for a record, but not for this, is taken and "
        "dead-lettered: the platform would repeat it for nothing."),
    NUMBER("bodies_bytes", KEY_INT, SECTION(ingress.bodies_bytes), 64 * MIB, MIB, 16384 * MIB,
           "Bytes of all callbacks in hand; what does not fit is refused with 503."),
    NUMBER("max_connections", KEY_INT, SECTION(ingress.max_connections), 10000, 1, 1000000,
           "Connections open at once."),
    NUMBER(
        "idle_timeout_ms", KEY_MS, SECTION(ingress.idle_timeout_ms), 30000, 1000, HOUR_MS,
        "A connection on which nothing moves is closed, and one that takes twice as long for "
        "a request; counted in whole seconds."),
    NUMBER("publish_budget_ms", KEY_MS, SECTION(ingress.publish_budget_ms), 3000, 100, 4000,
           "Longest wait for Kafka's acknowledgement; past it the user gets `busy_text`."),
    NUMBER("bosshi_budget_ms", KEY_MS, SECTION(ingress.bosshi_budget_ms), 700, 50, 5000,
           "The same for BOSSHI, which gives up after 1000; past it 503, and the platform "
           "repeats."),
    NUMBER("store_gate_ms", KEY_MS, SECTION(ingress.store_gate_ms), 50, 0, 1000,
           "Longest a new message waits for the store before it goes to Kafka."),
    NUMBER("poll_hold_ms", KEY_MS, SECTION(ingress.poll_hold_ms), 2000, 0, 4000,
           "Longest a poll waits for a store that is away."),
    NUMBER("unknown_ms", KEY_MS, SECTION(ingress.unknown_ms), 60000, 1000, 340000,
           "How long an unknown stream shows the placeholder before `lost_text`."),
    NUMBER("memory_entries", KEY_INT, SECTION(ingress.memory_entries), 20000, 16, 10000000,
           "Streams remembered to answer polls while the store is away."),
    NUMBER("memory_bytes", KEY_INT, SECTION(ingress.memory_bytes), 32 * MIB, 64 * KIB,
           16384 * MIB, "Bytes of their texts."),
    NUMBER("queue_messages", KEY_INT, SECTION(ingress.queue_messages), 20000, 1, 10000000,
           "Records waiting for Kafka; a full queue answers `busy_text`."),
    NUMBER("queue_kbytes", KEY_INT, SECTION(ingress.queue_kbytes), 65536, 1024, 2097151,
           "The same in KiB."),
    NUMBER("owed_opens", KEY_INT, SECTION(ingress.owed_opens), 16384, 1, 10000000,
           "Streams opened while the store is away, kept to be written when it is back; above "
           "it the oldest is dropped."),
    NUMBER("owed_closes", KEY_INT, SECTION(ingress.owed_closes), 16384, 1, 10000000,
           "Ends told to users while the store is away, kept to be written when it is back; "
           "above it the oldest is dropped."),
    NUMBER("rate_users", KEY_INT, SECTION(ingress.rate_users), 50000, 1, 10000000,
           "Users remembered for `user_rate_per_min`; above it the one unseen for longest is "
           "forgotten."),
};

static const struct config_key worker_keys[] = {
    TEXT("admin", KEY_LISTEN, SECTION(worker.admin), "127.0.0.1:9081", 0,
         "Address of `/livez`, `/readyz` and `/metrics`; not for the public."),
    TEXT("slot", KEY_TEXT, SECTION(worker.slot), "", 0,
         "Static membership in the consumer group. Only where the supervisor gives every "
         "process a stable name of its own; two workers with one name fence each other."),
    TEXT("group", KEY_TEXT, SECTION(worker.group), "", 0,
         "Consumer group; empty: `{topic_prefix}.worker`. With `.late` added it is that of the "
         "late topic."),
    NUMBER("lease_ms", KEY_MS, SECTION(worker.lease_ms), 10000, 1000, 60000,
           "How long a stream stays with a worker that is not heard of any more."),
    NUMBER("drain_ms", KEY_MS, SECTION(worker.drain_ms), 30000, 0, HOUR_MS,
           "How long running answers may go on after SIGTERM; then another worker has them."),
    NUMBER("window_records", KEY_INT, SECTION(worker.window_records), 16384, 16, 1048576,
           "Records in hand per partition."),
    NUMBER("window_bytes", KEY_INT, SECTION(worker.window_bytes), 32 * MIB, MIB, 16384 * MIB,
           "Their bytes per partition."),
    NUMBER("total_bytes", KEY_INT, SECTION(worker.total_bytes), 256 * MIB, MIB, 65536 * MIB,
           "Their bytes in the whole process; late answers have as much for themselves."),
    NUMBER("flush_ms", KEY_MS, SECTION(worker.flush_ms), 250, 50, 10000,
           "Shortest time between two writes of a growing text."),
    NUMBER("flush_large_ms", KEY_MS, SECTION(worker.flush_large_ms), 1000, 50, 60000,
           "The same for a text of `flush_large_bytes` and more."),
    NUMBER("flush_large_bytes", KEY_INT, SECTION(worker.flush_large_bytes), 8192, 0, MIB,
           "See `flush_large_ms`."),
    NUMBER("max_sessions", KEY_INT, SECTION(worker.max_sessions), 10000, 1, 1000000,
           "Questions begun and not at their visible end, at once. With several bots none has "
           "all: a flood of one leaves a fifth to the others, so that theirs begin at once "
           "(from 2 on)."),
    NUMBER(
        "bot_max_records", KEY_INT, SECTION(worker.bot_max_records), 12288, 1, 10000000,
        "Records in hand per bot, waiting, running and late; what comes above it is answered "
        "with "
        "`busy_text` and dead-lettered as `overload`. Keep it below `window_records`: then a "
        "flood of one bot never stops a partition."),
    NUMBER("bot_max_bytes", KEY_INT, SECTION(worker.bot_max_bytes), 24 * MIB, 64 * KIB,
           16384 * MIB, "Their bytes; keep it below `window_bytes`."),
    NUMBER("pipeline_max_records", KEY_INT, SECTION(worker.pipeline_max_records), 14336, 1,
           10000000, "The same per pipeline, over all its bots."),
    NUMBER("pipeline_max_bytes", KEY_INT, SECTION(worker.pipeline_max_bytes), 28 * MIB,
           64 * KIB, 16384 * MIB, "Their bytes."),
    NUMBER("lane_max_records", KEY_INT, SECTION(worker.lane_max_records), 256, 1, 10000000,
           "The same per lane, which is one user in one chat. Keep it well below "
           "`bot_max_records`: then a flood of one user takes nothing from the bot's others."),
    NUMBER("lane_max_bytes", KEY_INT, SECTION(worker.lane_max_bytes), 4 * MIB, 64 * KIB,
           16384 * MIB, "Their bytes; keep it well below `bot_max_bytes`."),
    NUMBER("alone_ms", KEY_MS, SECTION(worker.alone_ms), 30000, 1000, 10 * MINUTE_MS,
           "Longest that others wait while a question with which workers died runs alone; as "
           "long they are then served again before the next such question."),
    NUMBER("answer_max_bytes", KEY_INT, SECTION(worker.answer_max_bytes), MIB, 32 * KIB,
           16 * MIB,
           "Bytes of one answer; what is longer ends there, and says so with `cut_text`."),
    NUMBER(
        "event_max_bytes", KEY_INT, SECTION(worker.event_max_bytes), MIB, 4 * KIB, 64 * MIB,
        "Bytes of one line and of one event in a pipeline's stream; past it the pipeline has "
        "failed."),
    NUMBER("response_max_bytes", KEY_INT, SECTION(worker.response_max_bytes), 16 * MIB,
           64 * KIB, 1024 * MIB,
           "Bytes that a pipeline may send for one answer, framing included; past it the "
           "pipeline has failed. As one JSON document 4 MiB at most."),
    NUMBER("finals_entries", KEY_INT, SECTION(worker.finals_entries), 8192, 1, 1000000,
           "Ends of the last 30 s kept to be written again into a store that lost them; above "
           "it the oldest go first."),
    NUMBER("finals_bytes", KEY_INT, SECTION(worker.finals_bytes), 32 * MIB, 64 * KIB,
           16384 * MIB,
           "Their bytes; keep it below the store's `max_outstanding_bytes`, or not all are "
           "written "
           "again."),
    NUMBER("puts_in_flight", KEY_INT, SECTION(worker.puts_in_flight), 512, 1, 1000000,
           "Writes of growing texts and leases that the store has not answered; what is due "
           "beyond them waits, and is written as it is then."),
    NUMBER(
        "queue_messages", KEY_INT, SECTION(worker.queue_messages), 20000, 1, 10000000,
        "Dead letters, events and copies for the late topic that wait for Kafka; with a full "
        "queue they are owed and tried again."),
    NUMBER("queue_kbytes", KEY_INT, SECTION(worker.queue_kbytes), 65536, 1024, 2097151,
           "The same in KiB."),
    NUMBER(
        "idle_connections", KEY_INT, SECTION(worker.idle_connections), 256, 0, 1000000,
        "Connections kept open for the next call of the same server; above it the one unused "
        "for longest is closed."),
    NUMBER("bosshi_tokens", KEY_INT, SECTION(worker.bosshi_tokens), 4096, 1, 1000000,
           "Tokens of BOSSHI apps and tenants kept; above it those that nobody waits for are "
           "forgotten."),
    NUMBER("bosshi_chats", KEY_INT, SECTION(worker.bosshi_chats), 65536, 1, 10000000,
           "Chats whose `chat_interval_ms` is kept; above it the one unused for longest is "
           "forgotten."),
    NUMBER("shown_wait_ms", KEY_MS, SECTION(worker.shown_wait_ms), 20000, 0, 340000,
           "An end that no poll has rendered by then is sent to the message's `response_url`."),
};

static const struct config_key response_url_keys[] = {
    {.name = "hosts",
     .type = KEY_STRINGS,
     .flags = KEY_HOST,
     .offset = SECTION(response_url.hosts),
     .text = "qyapi.weixin.qq.com",
     .help = "Hosts that may be called, with all hosts below them; an empty list calls none."},
    NUMBER("allow_http", KEY_BOOL, SECTION(response_url.allow_http), 0, 0, 1,
           "Accept `http://` as well (tests)."),
    NUMBER("allow_private", KEY_BOOL, SECTION(response_url.allow_private), 0, 0, 1,
           "Connect to addresses that are not public as well (tests)."),
    NUMBER("connect_timeout_ms", KEY_MS, SECTION(response_url.connect_timeout_ms), 5000, 50,
           60000, "Longest wait for a connection."),
    NUMBER("timeout_ms", KEY_MS, SECTION(response_url.timeout_ms), 15000, 50, 120000,
           "Longest wait for the answer; past it the address counts as used."),
    NUMBER("useful_ms", KEY_MS, SECTION(response_url.useful_ms), 55 * MINUTE_MS, 1000, HOUR_MS,
           "How long after the callback it is still called; the platform's own limit is an "
           "hour."),
};

static const struct config_key kafka_keys[] = {
    {.name = "bootstrap.servers",
     .type = KEY_SETTING,
     .flags = KEY_REQUIRED,
     .help = "Brokers to begin with, `host:port,host:port`."},
    TEXT("topic_prefix", KEY_NAME, SECTION(kafka.topic_prefix), "botbridge", 0,
         "`x` gives the topics `x.requests`, `x.late`, `x.events`, `x.dlq`, `x.fragments`."),
    NUMBER("allow_unsafe_durability", KEY_BOOL, SECTION(kafka.allow_unsafe_durability), 0, 0, 1,
           "Accept replication below 3 and min.insync.replicas below 2 (tests, one broker)."),
};

static const struct config_key store_keys[] = {
    TEXT("url", KEY_STORE_URL, SECTION(store.url), NULL, KEY_REQUIRED,
         "`redis://[user:password@]host[:port][/db]`; Redis 6 or later, Valkey, Kvrocks, "
         "Dragonfly. TLS (`rediss://`) is not supported."),
    NUMBER("connect_timeout_ms", KEY_MS, SECTION(store.connect_timeout_ms), 2000, 50, 60000,
           "Longest wait for a connection."),
    NUMBER("command_timeout_ms", KEY_MS, SECTION(store.command_timeout_ms), 1000, 50, 60000,
           "Longest wait for a reply; past it the connection is made anew."),
    NUMBER("max_outstanding", KEY_INT, SECTION(store.max_outstanding), 20000, 16, 10000000,
           "Operations waiting for a reply; above it they fail at once."),
    NUMBER("max_outstanding_bytes", KEY_INT, SECTION(store.max_outstanding_bytes), 32 * MIB,
           MIB, 16384 * MIB, "Their bytes."),
    NUMBER("stream_ttl_ms", KEY_MS, SECTION(store.stream_ttl_ms), 2 * HOUR_MS, 10 * MINUTE_MS,
           24 * HOUR_MS, "How long the record of a stream is kept."),
};

static const struct config_choice log_levels[] = {
    {"debug", 0}, {"info", 1}, {"warn", 2}, {"error", 3}, {NULL, 0}};

static const struct config_key log_keys[] = {
    CHOICE("level", KEY_WORD, SECTION(log.level), "info", log_levels, 0,
           "Least level that is written."),
};

static const struct config_choice platforms[] = {
    {"wecom", PLATFORM_WECOM}, {"bosshi", PLATFORM_BOSSHI}, {NULL, 0}};

static const struct config_key bot_keys[] = {
    TEXT("name", KEY_NAME, BOT(name), NULL, KEY_REQUIRED,
         "Unique; the callback's path is `/{platform}/{name}`. 1 to 64 of letters, digits, "
         "`-`, `_`, `.`."),
    CHOICE("platform", KEY_KIND, BOT(platform), NULL, platforms, KEY_REQUIRED,
           "Where the bot lives."),
    TEXT("pipeline", KEY_NAME, BOT(pipeline), NULL, KEY_REQUIRED,
         "Name of the pipeline that answers."),
    TEXT("apology_text", KEY_TEXT, BOT(apology_text), "抱歉，回答时出现问题，请稍后再试。",
         KEY_NOT_EMPTY | KEY_SHOWN,
         "Ends an answer whose pipeline has failed, or a question that no record can hold."),
    TEXT("busy_text", KEY_TEXT, BOT(busy_text), "当前咨询较多，暂时无法回答，请稍后再试。",
         KEY_NOT_EMPTY | KEY_SHOWN, "Shown when the question could not be accepted in time."),
    TEXT("notice_text", KEY_TEXT, BOT(notice_text),
         "回答时间已到上限，内容可能不完整，请稍后再试或换个问法。", KEY_NOT_EMPTY | KEY_SHOWN,
         "Added to an answer that was cut off by its deadline."),
    TEXT("cut_text", KEY_TEXT, BOT(cut_text), "（内容过长，余下部分未能显示）",
         KEY_NOT_EMPTY | KEY_SHOWN, "Ends an answer that is longer than can be shown."),
};

static const struct config_key wecom_keys[] = {
    ROTATED("token", KEY_SECRETS, BOT(wecom.tokens), BOT(wecom.token_count), KEY_REQUIRED,
            "Token of the callback's configuration page."),
    ROTATED("aes_key", KEY_AES_KEYS, BOT(wecom.aes_keys), BOT(wecom.aes_key_count),
            KEY_REQUIRED, "EncodingAESKey of the same page, 43 characters."),
    TEXT("receive_id", KEY_TEXT, BOT(wecom.receive_id), "", 0,
         "Empty for a bot made inside the enterprise."),
    TEXT("aibotid", KEY_TEXT, BOT(aibotid), "", 0,
         "The platform's id of the bot. Not used yet by this version."),
    {.name = "mention_names",
     .type = KEY_STRINGS,
     .offset = BOT(mention_names),
     .help = "Names by which the bot is mentioned in groups. Not used yet by this version."},
    TEXT("welcome", KEY_TEXT, BOT(welcome), "", KEY_SHOWN,
         "Greeting when a user opens the chat; empty: none. Not used yet by this version."),
    TEXT("placeholder", KEY_TEXT, BOT(placeholder), "正在思考，请稍候…",
         KEY_NOT_EMPTY | KEY_SHOWN, "Shown until the answer begins."),
    TEXT("lost_text", KEY_TEXT, BOT(lost_text), "抱歉，这条回答已失效，请重新提问。",
         KEY_NOT_EMPTY | KEY_SHOWN, "Ends a bubble of which nothing is known any more."),
    TEXT("queue_text", KEY_TEXT, BOT(queue_text), "", KEY_SHOWN,
         "Shown instead of the placeholder while the question waits behind others of its lane "
         "or for a place of its pipeline (`concurrency`); `{n}` stands for how many are before "
         "it: \"前面还有 {n} 条消息\". Empty: never."),
    NUMBER("user_rate_per_min", KEY_INT, BOT(user_rate_per_min), 0, 0, 100000,
           "Questions of one user per minute, as far as one ingress process sees them; what "
           "comes above it gets `busy_text` and is not accepted. 0: any number."),
    NUMBER("stream_deadline_ms", KEY_MS, BOT(stream_deadline_ms), 340000, 1000, 360000,
           "When a bubble is ended at the latest, from the callback on; the platform's own "
           "limit is 360000."),
    NUMBER("handover_margin_ms", KEY_MS, BOT(handover_margin_ms), 20000, 0, 359000,
           "How much earlier the worker ends it; less than `stream_deadline_ms`."),
    NUMBER("late_limit_ms", KEY_MS, BOT(late_limit_ms), 50 * MINUTE_MS, 0, 55 * MINUTE_MS,
           "How long after the callback an answer that outlives its bubble may go on, to be "
           "sent to the message's `response_url`; the pipeline's own `total_timeout_ms` holds "
           "as well."),
    TEXT("more_text", KEY_TEXT, BOT(more_text), "（内容较长，余下部分请见下一条消息）",
         KEY_NOT_EMPTY | KEY_SHOWN, "Ends a bubble whose answer goes on in a second message."),
};

static const struct config_choice bosshi_proofs[] = {{"token", BOSSHI_PROOF_TOKEN},
                                                     {"signature", BOSSHI_PROOF_SIGNATURE},
                                                     {"none", BOSSHI_PROOF_NONE},
                                                     {NULL, 0}};
static const struct config_choice bosshi_reply_modes[] = {
    {"send", BOSSHI_SEND}, {"reply", BOSSHI_REPLY}, {NULL, 0}};
static const struct config_choice bosshi_receivers[] = {{"chat_id", BOSSHI_CHAT_ID},
                                                        {"open_id", BOSSHI_OPEN_ID},
                                                        {"union_id", BOSSHI_UNION_ID},
                                                        {"user_id", BOSSHI_USER_ID},
                                                        {NULL, 0}};
static const struct config_choice bosshi_senders[] = {{"open_id", BOSSHI_OPEN_ID},
                                                      {"union_id", BOSSHI_UNION_ID},
                                                      {"user_id", BOSSHI_USER_ID},
                                                      {NULL, 0}};
static const struct config_choice bosshi_encodings[] = {
    {"object", BOSSHI_CONTENT_OBJECT}, {"string", BOSSHI_CONTENT_STRING}, {NULL, 0}};
static const struct config_choice bosshi_wrappers[] = {
    {"none", BOSSHI_WRAPPER_NONE},
    {"compressiveCardContent", BOSSHI_WRAPPER_COMPRESSIVE},
    {NULL, 0}};
static const struct config_choice bosshi_uuid_places[] = {
    {"query", BOSSHI_UUID_IN_QUERY}, {"body", BOSSHI_UUID_IN_BODY}, {NULL, 0}};
static const struct config_choice bosshi_nestings[] = {{"auto", BOSSHI_TOKEN_AUTO},
                                                       {"data", BOSSHI_TOKEN_IN_DATA},
                                                       {"top", BOSSHI_TOKEN_ON_TOP},
                                                       {NULL, 0}};
static const struct config_choice bosshi_conversations[] = {
    {"chat", SCOPE_CHAT}, {"chat_user", SCOPE_CHAT_USER}, {"thread", SCOPE_THREAD}, {NULL, 0}};
static const struct config_choice bosshi_streams[] = {{"auto", BOSSHI_STREAM_AUTO},
                                                      {"card", BOSSHI_STREAM_CARD},
                                                      {"final", BOSSHI_STREAM_FINAL},
                                                      {NULL, 0}};
static const struct config_choice bosshi_units[] = {{"characters", BOSSHI_CHARACTERS},
                                                    {"utf16", BOSSHI_UTF16},
                                                    {"bytes", BOSSHI_BYTES},
                                                    {NULL, 0}};
static const struct config_choice bosshi_classes[] = {{"retry", BOSSHI_ERROR_RETRY},
                                                      {"refresh", BOSSHI_ERROR_REFRESH},
                                                      {"stop", BOSSHI_ERROR_STOP},
                                                      {"done", BOSSHI_ERROR_DONE},
                                                      {"no_card", BOSSHI_ERROR_NO_CARD},
                                                      {"too_long", BOSSHI_ERROR_TOO_LONG},
                                                      {NULL, 0}};

static const struct config_key bosshi_keys[] = {
    TEXT("app_id", KEY_TEXT, BOSSHI(keys.app_id), NULL, KEY_REQUIRED | KEY_NOT_EMPTY,
         "The app's id (`bli_…`)."),
    TEXT("app_secret", KEY_SECRET, BOSSHI(app_secret), NULL, KEY_REQUIRED | KEY_NOT_EMPTY,
         "Its secret, for calls of the API."),
    ROTATED("verification_token", KEY_SECRETS, BOSSHI(keys.tokens), BOSSHI(keys.token_count),
            KEY_REQUIRED, "Verification Token of the event subscription."),
    ROTATED("encrypt_key", KEY_SECRETS, BOSSHI(keys.encrypt_keys),
            BOSSHI(keys.encrypt_key_count), 0,
            "Encrypt Key of the same page. Set: plain bodies are refused; not set, or empty: "
            "encrypted ones are."),
    NUMBER("check_signature", KEY_BOOL, BOSSHI(check_signature), 0, 0, 1,
           "Check the signature of events that carry the three headers below; whether the "
           "platform sends them is not known. Needs `encrypt_key`."),
    TEXT("signature_header", KEY_TEXT, BOSSHI(signature_header), "X-Lark-Signature",
         KEY_HEADER_NAME, "Its header."),
    TEXT("timestamp_header", KEY_TEXT, BOSSHI(timestamp_header), "X-Lark-Request-Timestamp",
         KEY_HEADER_NAME, "What is signed first."),
    TEXT("nonce_header", KEY_TEXT, BOSSHI(nonce_header), "X-Lark-Request-Nonce",
         KEY_HEADER_NAME, "What is signed second."),
    CHOICE(
        "card_proof", KEY_CHOICE, BOSSHI(card_proof), "token", bosshi_proofs, 0,
        "What shows that a click on a card comes from the platform. `token`: what shows it of "
        "an event. `signature`: the three headers, over the Verification Token (SHA-1) or the "
        "Encrypt Key (SHA-256); the body may be plain although there is a key. `none`: "
        "nothing; let only the platform's addresses through to `/card` then. The check of "
        "the URL always needs the token."),
    {.name = "event_types",
     .type = KEY_STRINGS,
     .offset = BOSSHI(event_types),
     .text = "im.message.receive",
     .help = "Events that are questions, with or without `_v1`, `_v2`, …; all others are "
             "published to the events topic."},
    CHOICE("conversation", KEY_CHOICE, BOSSHI(conversation), "chat", bosshi_conversations, 0,
           "What is one conversation: the chat, one user in it, or one chain of replies."),
    CHOICE("sender_id", KEY_CHOICE, BOSSHI(sender_id), "open_id", bosshi_senders, 0,
           "Which id is the sender's; never another one, also where this one is missing."),
    TEXT("bot_open_id", KEY_TEXT, BOSSHI(bot_open_id), "", 0,
         "The bot's own open id: its mention is taken out of the text."),
    {.name = "bot_names",
     .type = KEY_STRINGS,
     .offset = BOSSHI(bot_names),
     .help = "Names of the bot, for the same where its id is not known."},
    NUMBER("max_age_ms", KEY_MS, BOSSHI(max_age_ms), 8 * HOUR_MS, 1000, 876000 * HOUR_MS,
           "A question older than this is not answered but dead-lettered as `expired`."),
    NUMBER(
        "dedup_ttl_ms", KEY_MS, BOSSHI(dedup_ttl_ms), 9 * HOUR_MS, MINUTE_MS, 168 * HOUR_MS,
        "How long an event is remembered, or for `max_age_ms` where that is longer (a week at "
        "most); the platform repeats for 7.5 hours, so keep it above 8."),
    TEXT("api_base", KEY_HTTP_URL, BOSSHI(api_base), "https://hi-open.zhipin.com", 0,
         "Host of the API, without a path."),
    TEXT("token_path", KEY_TEXT, BOSSHI(token_path),
         "/open-apis/auth/tenant_access_token/internal", KEY_PATH, "Path of the token call."),
    TEXT("send_path", KEY_TEXT, BOSSHI(send_path), "/open-apis/im/v2/messages", KEY_PATH,
         "Path of the send call."),
    TEXT("reply_path", KEY_TEXT, BOSSHI(reply_path),
         "/open-apis/im/v2/messages/{message_id}/reply", KEY_PATH | KEY_MESSAGE_PATH,
         "Path of the reply call."),
    TEXT("update_path", KEY_TEXT, BOSSHI(update_path),
         "/open-apis/im/messages/{message_id}/update", KEY_PATH | KEY_MESSAGE_PATH,
         "Path of the card update."),
    CHOICE(
        "reply_mode", KEY_CHOICE, BOSSHI(reply_mode), "send", bosshi_reply_modes, 0,
        "Answer into the chat, or as a reply to the message. A reply that gets 404 goes into "
        "the chat instead; two unlike messages that get it in a row, or one 405, mean that "
        "there is no such call: `send` for an hour."),
    CHOICE("receive_id_type", KEY_CHOICE, BOSSHI(receive_id_type), "chat_id", bosshi_receivers,
           0,
           "Which id answers go to; the sender's are for direct chats, groups always get "
           "`chat_id`."),
    CHOICE("content_encoding", KEY_CHOICE, BOSSHI(content_encoding), "object", bosshi_encodings,
           0, "`content` of the send call: an object, or its JSON text as a string."),
    CHOICE("card_wrapper", KEY_CHOICE, BOSSHI(card_wrapper), "none", bosshi_wrappers, 0,
           "Member around a card that is sent."),
    CHOICE("uuid_in", KEY_CHOICE, BOSSHI(uuid_in), "query", bosshi_uuid_places, 0,
           "Where a send carries the id by which the platform knows a repeat."),
    CHOICE("token_nesting", KEY_CHOICE, BOSSHI(token_nesting), "auto", bosshi_nestings, 0,
           "Where the token call's answer has the token; `auto`: in `data`, else on top."),
    NUMBER("token_with_tenant", KEY_BOOL, BOSSHI(token_with_tenant), 0, 0, 1,
           "The token call carries `tenant_key`, and every tenant has a token of its own."),
    NUMBER("api_connect_timeout_ms", KEY_MS, BOSSHI(api_connect_timeout_ms), 5000, 50, 60000,
           "Longest wait for a connection."),
    NUMBER("api_timeout_ms", KEY_MS, BOSSHI(api_timeout_ms), 15000, 50, 120000,
           "Longest wait for an answer of the API."),
    NUMBER("api_attempts", KEY_INT, BOSSHI(api_attempts), 5, 1, 100,
           "Tries of a call before its answer is dead-lettered as `undelivered`; until the "
           "answer's "
           "deadline it is tried on."),
    {.name = "api_errors",
     .type = KEY_CODES,
     .offset = BOSSHI(api_errors),
     .count_offset = BOSSHI(api_error_count),
     .choices = bosshi_classes,
     .help = "How codes of the API are met, over what is built in: tried again, tried with a "
             "new token, given up, taken for success, tried as text instead of a card, or in "
             "shorter messages."},
    CHOICE("stream", KEY_CHOICE, BOSSHI(stream), "auto", bosshi_streams, 0,
           "`card`: a card that grows with the answer; `final`: text at the end; `auto`: a "
           "card, and text where the platform refuses cards."),
    NUMBER("update_interval_ms", KEY_MS, BOSSHI(update_interval_ms), 1000, 50, 60000,
           "Shortest time between two updates of a card."),
    NUMBER(
        "updates_max", KEY_INT, BOSSHI(updates_max), 20, 0, 100000,
        "Updates that a card may take while it grows: the time between them doubles with each "
        "fifth of these, and then only the last update follows, with the whole answer. 0: as "
        "many as there are."),
    NUMBER("chat_interval_ms", KEY_MS, BOSSHI(chat_interval_ms), 250, 0, 60000,
           "Shortest time between two calls of one worker for one chat (of which Feishu takes "
           "five a second, of all its bots together). Several workers serve one group where "
           "`conversation` is not `chat`."),
    NUMBER("text_limit", KEY_INT, BOSSHI(text_limit), 5000, 100, 1000000,
           "Longest text of one message; what is longer goes on in the next. Where the "
           "platform refuses one as too long, the rest of that answer goes on in messages of "
           "half its length, down to 100."),
    NUMBER("card_limit", KEY_INT, BOSSHI(card_limit), 5000, 100, 1000000,
           "Longest text of a card; likewise."),
    CHOICE("text_limit_unit", KEY_CHOICE, BOSSHI(text_limit_unit), "characters", bosshi_units,
           0, "What both count; utf16: most emoji count double."),
    TEXT("card_header", KEY_TEXT, BOSSHI(card_header), "", KEY_SHOWN,
         "Title of the card; empty: none."),
    TEXT("placeholder", KEY_TEXT, BOT(placeholder), "", KEY_SHOWN,
         "Shown in the card until the answer begins; empty: the card comes with the first "
         "text."),
    NUMBER("stream_deadline_ms", KEY_MS, BOT(stream_deadline_ms), 10 * MINUTE_MS, 1000, HOUR_MS,
           "When an answer is ended at the latest, from the question's turn on (a worker that "
           "comes after it, where the one before died, has as long anew); then `notice_text`, "
           "and the question is dead-lettered."),
    NUMBER("late_after_ms", KEY_MS, BOSSHI(late_after_ms), 10 * MINUTE_MS, 0, 168 * HOUR_MS,
           "A question that was older when its turn came is answered with `late_text` in "
           "front."),
    TEXT("late_text", KEY_TEXT, BOSSHI(late_text), "（这条消息到得很晚，现在为您回答）",
         KEY_SHOWN, "See `late_after_ms`; empty: answered like any other."),
};

static const struct config_choice pipeline_types[] = {{"openai", PIPELINE_OPENAI},
                                                      {"echo", PIPELINE_ECHO},
                                                      {"dify", -1},
                                                      {"http", -1},
                                                      {"exec", -1},
                                                      {"kafka", -1},
                                                      {NULL, 0}};

static const struct config_key pipeline_keys[] = {
    CHOICE("type", KEY_KIND, PIPELINE(type), NULL, pipeline_types, KEY_REQUIRED,
           "What the pipeline speaks."),
    NUMBER("connect_timeout_ms", KEY_MS, PIPELINE(connect_timeout_ms), 5000, 50, 60000,
           "Longest wait for a connection."),
    NUMBER("first_text_timeout_ms", KEY_MS, PIPELINE(first_text_timeout_ms), 120000, 50,
           HOUR_MS, "Longest silence before the first text."),
    NUMBER("gap_timeout_ms", KEY_MS, PIPELINE(gap_timeout_ms), 60000, 50, HOUR_MS,
           "Longest silence between two pieces of text."),
    NUMBER("total_timeout_ms", KEY_MS, PIPELINE(total_timeout_ms), 10 * MINUTE_MS, 50, HOUR_MS,
           "Longest run; the bot's own deadline may be earlier."),
    NUMBER("attempts", KEY_INT, PIPELINE(attempts), 3, 1, 10,
           "Tries before the apology; only what has shown no text yet is tried again."),
    NUMBER(
        "concurrency", KEY_INT, PIPELINE(concurrency), 1000, 1, 100000,
        "Answers of this pipeline running at once in one worker; where several bots have it, "
        "none gets all of them (see `max_sessions`)."),
    NUMBER(
        "breaker_failures", KEY_INT, PIPELINE(breaker_failures), 5, 0, 1000000,
        "Failures in a row, of the kind that is tried again, after which nothing is sent for "
        "`breaker_open_ms`; 0: never. Questions wait meanwhile, for `first_text_timeout_ms` "
        "at most."),
    NUMBER("breaker_open_ms", KEY_MS, PIPELINE(breaker_open_ms), 10000, 50, HOUR_MS,
           "Pause of a failing pipeline; then one question is let through as a probe."),
};

static const struct config_key openai_keys[] = {
    TEXT("url", KEY_HTTP_URL, PIPELINE(url), NULL, KEY_REQUIRED,
         "Base address up to `/v1`; `/chat/completions` is added."),
    TEXT("model", KEY_TEXT, PIPELINE(model), NULL, KEY_REQUIRED | KEY_NOT_EMPTY,
         "Name of the model."),
    TEXT("api_key", KEY_SECRET, PIPELINE(api_key), "", 0,
         "Sent as `Authorization: Bearer …`; empty: none."),
    TEXT("system", KEY_TEXT, PIPELINE(system), "", 0, "System message; empty: none."),
    {.name = "extra",
     .type = KEY_OBJECT,
     .offset = PIPELINE(extra),
     .help = "Object merged into the request's body (`temperature`, `max_tokens`, …)."},
    {.name = "headers",
     .type = KEY_HEADERS,
     .offset = PIPELINE(headers),
     .help = "Further request headers, name to value; values are treated as secrets."},
};

static const struct config_key echo_keys[] = {
    NUMBER("rate", KEY_INT, PIPELINE(rate), 50, 1, 1000000, "Code points per second."),
};

const struct config_group config_groups[] = {
    {.kind = GROUP_SECTION,
     .section = "ingress",
     .help = "The program that the platforms call.",
     KEYS(ingress_keys)},
    {.kind = GROUP_SECTION,
     .section = "worker",
     .help = "The program that runs pipelines.",
     .later = (const char *const[]){"spool_dir", "spool_bytes", NULL},
     KEYS(worker_keys)},
    {.kind = GROUP_SECTION,
     .section = "kafka",
     .is_open = true,
     .help = "Every other name is a librdkafka property and is passed on (strings, numbers or "
             "booleans): `security.protocol`, `sasl.username`, `linger.ms`, …",
     KEYS(kafka_keys)},
    {.kind = GROUP_SECTION,
     .section = "store",
     .help = "Where the texts are that polls read.",
     KEYS(store_keys)},
    {.kind = GROUP_SECTION,
     .section = "response_url",
     .help = "What is sent to the address that came with a message: ends that its bubble could "
             "not show. At most one message per question.",
     KEYS(response_url_keys)},
    {.kind = GROUP_SECTION, .section = "log", .help = "Lines on stderr.", KEYS(log_keys)},
    {.kind = GROUP_BOT,
     .section = "bots",
     .help = "A list, one object per bot. Keys of every platform:",
     KEYS(bot_keys)},
    {.kind = GROUP_BOT,
     .section = "bots",
     .variant = "wecom",
     .help = "Further keys of a WeCom bot (callback mode). `token` and `aes_key` take a string "
             "or `[current, previous]` while they are being changed.",
     KEYS(wecom_keys)},
    {.kind = GROUP_BOT,
     .section = "bots",
     .variant = "bosshi",
     .help =
         "Further keys of a BOSSHI bot. `verification_token` and `encrypt_key` take a string "
         "or `[current, previous]` while they are being changed.",
     KEYS(bosshi_keys)},
    {.kind = GROUP_PIPELINE,
     .section = "pipelines",
     .later = (const char *const[]){"fallback", NULL},
     .help = "An object, name to pipeline. Keys of every type:",
     KEYS(pipeline_keys)},
    {.kind = GROUP_PIPELINE,
     .section = "pipelines",
     .variant = "openai",
     .later = (const char *const[]){"history_turns", NULL},
     .help = "Any endpoint that speaks OpenAI's chat completions with streaming.",
     KEYS(openai_keys)},
    {.kind = GROUP_PIPELINE,
     .section = "pipelines",
     .variant = "echo",
     .help = "Repeats the question at a set rate: for tests and first steps.",
     KEYS(echo_keys)},
};
const size_t config_group_count = sizeof config_groups / sizeof config_groups[0];

const char *const config_later_sections[] = {"media", NULL};
