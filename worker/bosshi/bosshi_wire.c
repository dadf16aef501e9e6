#include "bosshi/bosshi_wire.h"

#include "base/utf8.h"
#include "json/json_writer.h"

#include <ctype.h>
#include <inttypes.h>

enum { URL_MAX_BYTES = 16384, BODY_FRAME_BYTES = 16384, MESSAGE_BYTES = 80, TRACE_BYTES = 40 };

/* --- addresses --- */

static void append_encoded(struct buf *url, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (isalnum(c) || (c != 0 && strchr("-._~", c)))
            buf_append_char(url, (char)c);
        else
            buf_printf(url, "%%%02X", c);
    }
}

static char *take_url(struct buf *url)
{
    char *text = bytes_dup(url->overflowed ? BYTES_LIT("") : buf_bytes(url));
    buf_free(url);
    return text;
}

static void append_path(struct buf *url, const struct config_bosshi *app, const char *path,
                        struct bytes message_id)
{
    const char *place = strstr(path, BOSSHI_PATH_MESSAGE_ID);
    buf_append_str(url, app->api_base);
    if (!place) {
        buf_append_str(url, path);
        return;
    }
    buf_append(url, bytes_of(path, (size_t)(place - path)));
    append_encoded(url, message_id);
    buf_append_str(url, place + sizeof(BOSSHI_PATH_MESSAGE_ID) - 1);
}

static const char *id_type_name(enum bosshi_id type)
{
    static const char *const names[] = {
        [BOSSHI_OPEN_ID] = "open_id",
        [BOSSHI_UNION_ID] = "union_id",
        [BOSSHI_USER_ID] = "user_id",
        [BOSSHI_CHAT_ID] = "chat_id",
    };
    return names[type];
}

static void append_uuid(struct buf *url, const struct config_bosshi *app, char before,
                        struct bytes uuid)
{
    if (app->uuid_in != BOSSHI_UUID_IN_QUERY)
        return;
    buf_append_char(url, before);
    buf_append_str(url, "uuid=");
    append_encoded(url, uuid);
}

char *bosshi_send_url(const struct config_bosshi *app, const struct bosshi_outgoing *message)
{
    struct buf url;
    buf_init(&url, URL_MAX_BYTES);
    append_path(&url, app, app->send_path, bytes_of("", 0));
    buf_printf(&url, "?receive_id_type=%s", id_type_name(message->receive_id_type));
    append_uuid(&url, app, '&', message->uuid);
    return take_url(&url);
}

char *bosshi_reply_url(const struct config_bosshi *app, const struct bosshi_outgoing *message)
{
    struct buf url;
    buf_init(&url, URL_MAX_BYTES);
    append_path(&url, app, app->reply_path, message->reply_to);
    append_uuid(&url, app, '?', message->uuid);
    return take_url(&url);
}

char *bosshi_update_url(const struct config_bosshi *app, struct bytes message_id)
{
    struct buf url;
    buf_init(&url, URL_MAX_BYTES);
    append_path(&url, app, app->update_path, message_id);
    return take_url(&url);
}

/* --- bodies --- */

/* As JSON inside a string, at worst, inside another: a backslash becomes four. */
size_t bosshi_body_max(struct bytes content)
{
    return 8 * content.len + BODY_FRAME_BYTES;
}

static void wrap(struct buf *out, struct bytes card)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_str(&w, "compressiveCardContent", card);
    json_close(&w, '}');
}

void bosshi_write_send(struct buf *out, const struct config_bosshi *app,
                       const struct bosshi_outgoing *message, bool is_reply)
{
    struct json_writer w;
    struct buf wrapped;
    struct bytes content = message->content;
    buf_init(&wrapped, bosshi_body_max(content));
    if (message->is_card && app->card_wrapper == BOSSHI_WRAPPER_COMPRESSIVE) {
        wrap(&wrapped, content);
        content = buf_bytes(&wrapped);
    }
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    if (!is_reply)
        json_str(&w, "receive_id", message->receive_id);
    json_str(&w, "msg_type", bytes_of_str(message->is_card ? "compressive_card" : "text"));
    if (app->content_encoding == BOSSHI_CONTENT_OBJECT)
        json_raw(&w, "content", content);
    else
        json_str(&w, "content", content);
    if (app->uuid_in == BOSSHI_UUID_IN_BODY)
        json_str(&w, "uuid", message->uuid);
    json_close(&w, '}');
    buf_free(&wrapped);
}

void bosshi_write_update(struct buf *out, struct bytes card)
{
    struct json_writer w;
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_str(&w, "content", card); /* a string, also where a send takes an object */
    json_str(&w, "msg_type", BYTES_LIT("compressive_card"));
    json_close(&w, '}');
}

/* --- answers --- */

/* Feishu's numbers: BOSSHI's are not known (dossier 6.9). */
static const struct config_code known_codes[] = {
    {99991400, BOSSHI_ERROR_RETRY},   /* too many calls */
    {230020, BOSSHI_ERROR_RETRY},     /* too many of one operation */
    {230049, BOSSHI_ERROR_RETRY},     /* the same uuid is being sent */
    {99991661, BOSSHI_ERROR_REFRESH}, /* no token */
    {99991663, BOSSHI_ERROR_REFRESH}, /* bad tenant token */
    {99991664, BOSSHI_ERROR_REFRESH}, /* bad app token */
    {99991668, BOSSHI_ERROR_REFRESH}, /* bad or expired token */
    {99991671, BOSSHI_ERROR_REFRESH}, /* malformed token */
    {99991677, BOSSHI_ERROR_REFRESH}, /* expired token */
    {230099, BOSSHI_ERROR_NO_CARD},   /* the card could not be built */
    {230031, BOSSHI_ERROR_NO_CARD},   /* too old to be updated */
    {230025, BOSSHI_ERROR_TOO_LONG},  /* content too long */
    {99991401, BOSSHI_ERROR_STOP},    /* our address is not allowed */
    {230002, BOSSHI_ERROR_STOP},      /* not in the group */
    {230006, BOSSHI_ERROR_STOP},      /* bot ability off */
    {230011, BOSSHI_ERROR_STOP},      /* recalled */
    {230013, BOSSHI_ERROR_STOP},      /* the user may not use the bot */
    {230022, BOSSHI_ERROR_STOP},      /* content blocked */
    {230027, BOSSHI_ERROR_STOP},      /* permission missing */
    {230028, BOSSHI_ERROR_STOP},      /* content blocked */
};

static const struct config_code *find_code(const struct config_code *codes, size_t count,
                                           int64_t code)
{
    for (size_t i = 0; i < count; i++)
        if (codes[i].code == code)
            return &codes[i];
    return NULL;
}

static enum bosshi_outcome outcome_of_class(int class_of_error)
{
    switch ((enum bosshi_error_class)class_of_error) {
    case BOSSHI_ERROR_RETRY:
        return BOSSHI_CALL_RETRY;
    case BOSSHI_ERROR_REFRESH:
        return BOSSHI_CALL_REFRESH;
    case BOSSHI_ERROR_DONE:
        return BOSSHI_CALL_DONE;
    case BOSSHI_ERROR_NO_CARD:
        return BOSSHI_CALL_NO_CARD;
    case BOSSHI_ERROR_TOO_LONG:
        return BOSSHI_CALL_TOO_LONG;
    case BOSSHI_ERROR_STOP:
        break;
    }
    return BOSSHI_CALL_STOP;
}

/* By the status alone. What a refusal of a card means is not known until a text was tried. */
static enum bosshi_outcome outcome_of_status(int status, bool is_card)
{
    if (status >= 500)
        return BOSSHI_CALL_UNKNOWN;
    if (status == 401)
        return BOSSHI_CALL_REFRESH;
    if (status == 408 || status == 425 || status == 429)
        return BOSSHI_CALL_RETRY;
    return is_card ? BOSSHI_CALL_NO_CARD : BOSSHI_CALL_STOP;
}

static const struct config_code *known_code(const struct config_bosshi *app, int64_t code)
{
    const struct config_code *found = find_code(app->api_errors, app->api_error_count, code);
    return found ? found
                 : find_code(known_codes, sizeof(known_codes) / sizeof(*known_codes), code);
}

static enum bosshi_outcome outcome_of_code(const struct config_bosshi *app,
                                           const struct bosshi_answer *a, int64_t code)
{
    const struct config_code *found = known_code(app, code);
    if (found)
        return outcome_of_class(found->value);
    bool is_success = a->status >= 200 && a->status < 300;
    return outcome_of_status(is_success ? 400 : a->status, a->is_card);
}

static enum bosshi_outcome outcome_of(const struct config_bosshi *app,
                                      const struct bosshi_answer *a, const struct json *root,
                                      int64_t code)
{
    bool is_success = a->status >= 200 && a->status < 300;
    if (a->result == FETCH_CONNECT)
        return BOSSHI_CALL_RETRY;
    if (a->result == FETCH_BAD_REQUEST || a->result == FETCH_NOT_PUBLIC)
        return BOSSHI_CALL_STOP;
    if (a->result != FETCH_OK)
        return a->status >= 300 ? outcome_of_status(a->status, a->is_card)
                                : BOSSHI_CALL_UNKNOWN;
    if (code != 0)
        return outcome_of_code(app, a, code);
    if (!is_success)
        return outcome_of_status(a->status, a->is_card);
    /* An answer that is none of the platform's says nothing about what became of the call. */
    bool is_its = json_type(root) == JSON_OBJECT && json_bool(json_get(root, "success"), true);
    return is_its ? BOSSHI_CALL_DONE : BOSSHI_CALL_UNKNOWN;
}

/* Nothing that would break a line or a quotation. */
static void append_words(struct buf *out, struct bytes text, size_t max_bytes)
{
    size_t len = utf8_cut(text, max_bytes);
    for (size_t i = 0; i < len; i++) {
        char c = text.ptr[i];
        bool is_plain = (unsigned char)c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
        buf_append(out, bytes_of(is_plain ? text.ptr + i : " ", 1));
    }
}

/* Returns how much of it is our own words. */
static size_t write_detail(const struct bosshi_answer *a, const struct json *root, int64_t code,
                           char detail[BOSSHI_DETAIL_BYTES])
{
    struct buf out;
    struct bytes words = json_get_string(root, "msg");
    buf_init(&out, BOSSHI_DETAIL_BYTES - 1);
    if (a->result != FETCH_OK) {
        append_words(&out, bytes_of_str(a->cause), BOSSHI_DETAIL_BYTES - 1);
    } else {
        struct bytes trace = json_get_string(root, "traceId");
        buf_printf(&out, "status %d, code %" PRId64, a->status, code);
        if (trace.len > 0)
            buf_append_str(&out, ", trace ");
        append_words(&out, trace, TRACE_BYTES);
    }
    size_t own_bytes = out.len;
    if (words.len > 0)
        buf_append_str(&out, ": ");
    append_words(&out, words, MESSAGE_BYTES);
    if (out.len > 0)
        memcpy(detail, out.ptr, out.len);
    detail[out.len] = '\0';
    buf_free(&out);
    return own_bytes;
}

/* A number, or its digits; none is success. False: it says nothing. */
static bool read_code(const struct json *root, int64_t *code)
{
    const struct json *value = json_get(root, "code");
    *code = json_int(value, 0);
    return json_type(value) == JSON_NULL || json_type(value) == JSON_INT ||
           bytes_to_i64(json_string(value), code);
}

struct json *bosshi_judge(const struct config_bosshi *app, const struct bosshi_answer *answer,
                          struct bosshi_result *out, char detail[BOSSHI_DETAIL_BYTES])
{
    struct json *root = NULL;
    if (answer->result == FETCH_OK)
        root = json_parse(answer->body, JSON_PEER, NULL);
    int64_t code;
    bool is_read = read_code(root, &code);
    struct bytes id = json_string(json_at(root, "/data/message_id"));
    out->outcome = outcome_of(app, answer, is_read ? root : NULL, code);
    out->code = code != 0 ? code : answer->status;
    out->is_known = code != 0 && known_code(app, code);
    if (out->outcome == BOSSHI_CALL_DONE && code == 0)
        out->code = 0;
    out->message_id = id.len > 0 ? id : json_get_string(root, "message_id");
    out->log_bytes = write_detail(answer, root, code, detail);
    return root;
}
