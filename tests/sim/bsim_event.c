#include "bsim_event.h"

#include "base/clock.h"

/* What is being made, and from what. */
struct making {
    const struct bsim_app *app;
    const struct json *ask;
    struct bsim_event *event;
    bool is_group;
    int64_t wall_ms; /* when it was written */
};

static char *member_or(const struct json *ask, const char *name, const char *otherwise)
{
    const struct json *member = json_get(ask, name);
    return json_type(member) == JSON_STRING ? bytes_dup(json_string(member))
                                            : brg_strdup(otherwise);
}

/* json_get cannot tell null from absent. */
struct null_search {
    const char *name;
    bool is_null;
};

static void look_for_null(struct bytes key, const struct json *value, void *arg)
{
    struct null_search *search = arg;
    if (bytes_eq_str(key, search->name) && json_type(value) == JSON_NULL)
        search->is_null = true;
}

static bool is_null(const struct json *ask, const char *name)
{
    struct null_search search = {name, false};
    if (ask)
        json_each(ask, look_for_null, &search);
    return search.is_null;
}

static char *id_or(const struct json *ask, const char *name, const char *prefix,
                   const char *otherwise)
{
    char made[BSIM_ID_BYTES];
    if (is_null(ask, name))
        return brg_strdup("");
    if (prefix)
        return member_or(ask, name, otherwise);
    bsim_make_id(made, strcmp(name, "event_id") != 0);
    return member_or(ask, name, made);
}

static void read_ids(struct making *m)
{
    struct bsim_event *e = m->event;
    const struct json *ask = m->ask;
    e->event_id = id_or(ask, "event_id", NULL, NULL);
    e->message_id = id_or(ask, "message_id", NULL, NULL);
    e->chat_id = id_or(ask, "chat_id", NULL, NULL);
    e->open_id = id_or(ask, "open_id", "", "ou_sim84aad35d084aa403a838cf73ee");
    e->union_id = id_or(ask, "union_id", "", "on_sim8ed6aa67826108097d9ee14381");
    e->user_id = id_or(ask, "user_id", "", "");
    e->tenant = member_or(ask, "sender_tenant", "736588c9260f175e~");
    e->chat_type = member_or(ask, "chat_type", "p2p");
    e->msg_type = member_or(ask, "kind", "text");
}

static void adopt(char **id, const struct json *from, const char *pointer)
{
    struct bytes found = json_string(json_at(from, pointer));
    if (found.len == 0)
        return;
    free(*id);
    *id = bytes_dup(found);
}

/* What was given whole has ids of its own. */
static void adopt_ids(struct bsim_event *e, const struct json *event)
{
    adopt(&e->message_id, event, "/message/message_id");
    adopt(&e->chat_id, event, "/message/chat_id");
    adopt(&e->chat_type, event, "/message/chat_type");
    adopt(&e->msg_type, event, "/message/message_type");
    adopt(&e->open_id, event, "/sender/sender_id/open_id");
    adopt(&e->union_id, event, "/sender/sender_id/union_id");
    adopt(&e->user_id, event, "/sender/sender_id/user_id");
    adopt(&e->tenant, event, "/sender/tenant_key");
}

static void adopt_given(const struct json *ask, struct bsim_event *e)
{
    struct bytes plain = json_get_string(ask, "plain");
    adopt_ids(e, json_get(ask, "event"));
    if (plain.len == 0)
        return;
    struct json *root = json_parse(plain, JSON_PEER, NULL);
    adopt(&e->event_id, root, "/header/event_id");
    adopt_ids(e, json_get(root, "event"));
    json_free(root);
}

static void write_optional(struct json_writer *w, const char *key, struct bytes value)
{
    if (value.len > 0)
        json_str(w, key, value);
}

static void write_ids(struct json_writer *w, const char *key, struct bytes open_id,
                      struct bytes union_id, struct bytes user_id)
{
    json_open(w, key, '{');
    write_optional(w, "union_id", union_id);
    write_optional(w, "user_id", user_id);
    write_optional(w, "open_id", open_id);
    json_close(w, '}');
}

static void write_ms(struct json_writer *w, const char *key, int64_t wall_ms)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)wall_ms);
    json_str(w, key, bytes_of(digits, (size_t)len));
}

/* --- mentions --- */

static size_t mention_count(const struct making *m)
{
    const struct json *mentions = json_get(m->ask, "mentions");
    return mentions ? json_length(mentions) : m->is_group ? 1 : 0;
}

static void write_mention(struct json_writer *w, const struct json *mention, size_t nth,
                          const char *tenant)
{
    char key[32];
    struct bytes name = json_get_string(mention, "name");
    struct bytes own_tenant = json_get_string(mention, "tenant_key");
    snprintf(key, sizeof key, "@_user_%zu", nth);
    json_open(w, NULL, '{');
    json_str(w, "key", bytes_of_str(key));
    if (mention) {
        write_ids(w, "id", json_get_string(mention, "open_id"),
                  json_get_string(mention, "union_id"), json_get_string(mention, "user_id"));
    } else {
        write_ids(w, "id", BYTES_LIT("ou_simbot"), BYTES_LIT("on_simbot"), BYTES_LIT(""));
        name = BYTES_LIT("bot");
    }
    json_str(w, "name", name);
    json_str(w, "tenant_key", own_tenant.len > 0 ? own_tenant : bytes_of_str(tenant));
    json_close(w, '}');
}

static void write_mentions(const struct making *m, struct json_writer *w)
{
    const struct json *mentions = json_get(m->ask, "mentions");
    size_t count = mention_count(m);
    if (count == 0)
        return;
    json_open(w, "mentions", '[');
    for (size_t i = 0; i < count; i++)
        write_mention(w, json_item(mentions, i), i + 1, m->event->tenant);
    json_close(w, ']');
}

static void write_said(const struct making *m, struct buf *out)
{
    if (!json_bool(json_get(m->ask, "in_text"), false))
        for (size_t i = 0; i < mention_count(m); i++)
            buf_printf(out, "@_user_%zu ", i + 1);
    buf_append_str(out, m->event->text);
}

/* --- content, by Feishu's page on message contents; BOSSHI's was not to be had --- */

static void write_post(struct json_writer *w, struct bytes text)
{
    json_str(w, "title", BYTES_LIT(""));
    json_open(w, "content", '[');
    for (size_t at = 0; at <= text.len;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.ptr) - at : text.len - at;
        json_open(w, NULL, '[');
        json_open(w, NULL, '{');
        json_str(w, "tag", BYTES_LIT("text"));
        json_str(w, "text", bytes_of(text.ptr + at, len));
        json_close(w, '}');
        json_close(w, ']');
        at += len + 1;
    }
    json_close(w, ']');
}

static void write_media(struct json_writer *w, struct bytes kind)
{
    bool is_media = bytes_eq_str(kind, "media");
    if (bytes_eq_str(kind, "image") || is_media)
        json_str(w, "image_key", BYTES_LIT("img_sim7ea74629-9191"));
    if (bytes_eq_str(kind, "image"))
        return;
    json_str(w, "file_key", BYTES_LIT("file_sim75235e0c-4f92"));
    if (bytes_eq_str(kind, "file") || is_media)
        json_str(w, "file_name", is_media ? BYTES_LIT("片段.mp4") : BYTES_LIT("报告.pdf"));
    if (bytes_eq_str(kind, "audio") || is_media)
        json_i64(w, "duration", 2000);
}

static bool is_one_of(struct bytes kind, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_eq_str(kind, names[i]))
            return true;
    return false;
}

static void write_content(const struct making *m, struct bytes kind, struct buf *out)
{
    static const char *const media[] = {"image", "file", "audio", "media", "sticker"};
    struct json_writer w;
    struct buf said;
    const struct json *content = json_get(m->ask, "content");
    if (json_type(content) == JSON_STRING) {
        buf_append(out, json_string(content));
        return;
    }
    buf_init(&said, BSIM_EVENT_MAX_BYTES);
    write_said(m, &said);
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    if (bytes_eq_str(kind, "text")) {
        json_str(&w, "text", buf_bytes(&said));
    } else if (bytes_eq_str(kind, "post")) {
        write_post(&w, buf_bytes(&said));
    } else if (is_one_of(kind, media, sizeof(media) / sizeof(media[0]))) {
        write_media(&w, kind);
    } else if (bytes_eq_str(kind, "location")) {
        json_str(&w, "name", BYTES_LIT("天安门"));
        json_str(&w, "longitude", BYTES_LIT("116.397"));
        json_str(&w, "latitude", BYTES_LIT("39.909"));
    } else if (bytes_eq_str(kind, "merge_forward")) {
        json_str(&w, "content", BYTES_LIT("Merged and Forwarded Message"));
    }
    json_close(&w, '}');
    buf_free(&said);
}

/* --- the event --- */

static void write_message(const struct making *m, struct json_writer *w)
{
    struct bsim_event *e = m->event;
    struct bytes kind = bytes_of_str(e->msg_type);
    struct buf content;
    buf_init(&content, BSIM_EVENT_MAX_BYTES);
    write_content(m, kind, &content);
    json_open(w, "message", '{');
    json_str(w, "message_id", bytes_of_str(e->message_id));
    write_optional(w, "root_id", json_get_string(m->ask, "root_id"));
    write_optional(w, "parent_id", json_get_string(m->ask, "parent_id"));
    write_ms(w, "create_time", m->wall_ms);
    json_str(w, "chat_id", bytes_of_str(e->chat_id));
    json_str(w, "chat_type", bytes_of_str(e->chat_type));
    json_str(w, "message_type", kind);
    json_str(w, "content", buf_bytes(&content));
    write_mentions(m, w);
    json_close(w, '}');
    buf_free(&content);
}

static void write_event(const struct making *m, struct json_writer *w)
{
    struct bsim_event *e = m->event;
    const struct json *whole = json_get(m->ask, "event");
    char *sender_type = member_or(m->ask, "sender_type", "user");
    if (whole) {
        struct buf text;
        buf_init(&text, BSIM_EVENT_MAX_BYTES);
        json_write_value(&text, whole);
        json_raw(w, "event", buf_bytes(&text));
        buf_free(&text);
    } else {
        json_open(w, "event", '{');
        json_open(w, "sender", '{');
        write_ids(w, "sender_id", bytes_of_str(e->open_id), bytes_of_str(e->union_id),
                  bytes_of_str(e->user_id));
        json_str(w, "sender_type", bytes_of_str(sender_type));
        json_str(w, "tenant_key", bytes_of_str(e->tenant));
        json_close(w, '}');
        write_message(m, w);
        json_close(w, '}');
    }
    free(sender_type);
}

static void write_header(const struct making *m, struct json_writer *w)
{
    static const char *const names[] = {"event_type", "token", "app_id", "tenant_key"};
    char *values[] = {
        member_or(m->ask, "event_type", "im.message.receive"),
        member_or(m->ask, "token", m->app->verification_token),
        member_or(m->ask, "app_id", m->app->app_id),
        member_or(m->ask, "tenant", "2ca1d211f64f6438"),
    };
    json_open(w, "header", '{');
    json_str(w, "event_id", bytes_of_str(m->event->event_id));
    write_ms(w, "create_time", m->wall_ms);
    for (size_t i = 0; i < 4; i++) {
        json_str(w, names[i], bytes_of_str(values[i]));
        free(values[i]);
    }
    json_close(w, '}');
}

static void write_plain(const struct making *m)
{
    struct json_writer w;
    char *schema = member_or(m->ask, "schema", "1.0");
    json_begin(&w, &m->event->body);
    json_open(&w, NULL, '{');
    if (!is_null(m->ask, "schema"))
        json_str(&w, "schema", bytes_of_str(schema));
    write_header(m, &w);
    write_event(m, &w);
    json_close(&w, '}');
    free(schema);
}

static void read_sealing(const struct json *ask, struct bsim_event *e)
{
    const struct json *sign = json_get(ask, "sign");
    e->is_plain = !json_bool(json_get(ask, "encrypt"), true);
    e->is_signed_wrongly = bytes_eq_str(json_string(sign), "wrong");
    e->is_signed = e->is_signed_wrongly || json_bool(sign, false);
    e->repeats = json_get_int(ask, "repeats", BSIM_REPEATS);
}

/* A mistyped member would make a test prove nothing. */
static void check_member(struct bytes key, const struct json *value, void *arg)
{
    static const char *const known[] = {
        "text",       "kind",       "content",     "chat_type", "mentions",      "in_text",
        "chat_id",    "message_id", "event_id",    "root_id",   "parent_id",     "open_id",
        "union_id",   "user_id",    "sender_type", "tenant",    "sender_tenant", "age_ms",
        "event_type", "schema",     "token",       "app_id",    "event",         "plain",
        "body",       "encrypt",    "sign",        "repeats",
    };
    struct bytes *unknown = arg;
    (void)value;
    if (!is_one_of(key, known, sizeof(known) / sizeof(known[0])))
        *unknown = key;
}

enum brg_err bsim_event_make(const struct bsim_app *app, const struct json *ask,
                             struct bsim_event *e, struct brg_error *error)
{
    struct bytes unknown = {0};
    const struct json *body = json_get(ask, "body"), *plain = json_get(ask, "plain");
    if (ask)
        json_each(ask, check_member, &unknown);
    if (unknown.len > 0)
        return brg_fail(error, BRG_REJECT, "no member of an ask: " BYTES_FMT,
                        BYTES_ARG(unknown));
    *e = (struct bsim_event){.is_raw = body != NULL};
    struct making m = {
        .app = app,
        .ask = ask,
        .event = e,
        .is_group = bytes_eq_str(json_get_string(ask, "chat_type"), "group"),
        .wall_ms = clock_wall_ms() - json_get_int(ask, "age_ms", 0),
    };
    read_ids(&m);
    adopt_given(ask, e);
    read_sealing(ask, e);
    e->text = member_or(ask, "text", "你好");
    buf_init(&e->body, BSIM_EVENT_MAX_BYTES);
    if (body || plain)
        buf_append(&e->body, json_string(body ? body : plain));
    else
        write_plain(&m);
    if (e->body.overflowed) {
        bsim_event_free(e);
        return brg_fail(error, BRG_REJECT, "the event is longer than the simulator makes");
    }
    return BRG_OK;
}

void bsim_event_free(struct bsim_event *e)
{
    char *const texts[] = {e->event_id, e->message_id, e->chat_id, e->chat_type, e->msg_type,
                           e->tenant,   e->text,       e->open_id, e->union_id,  e->user_id};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
    buf_free(&e->body);
}

void bsim_challenge_write(struct bytes challenge, struct bytes token, struct buf *out)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_str(&w, "challenge", challenge);
    json_str(&w, "token", token);
    json_str(&w, "type", BYTES_LIT("url_verification"));
    json_close(&w, '}');
}
