#include "json/json_pick.h"
#include "platform/wecom.h"

static bool is_string(const struct json *j)
{
    return json_type(j) == JSON_STRING;
}

/* The documentation writes `encrypt`, other callbacks of the platform `Encrypt`. */
enum brg_err wecom_parse_body(struct bytes body, struct json **root, struct bytes *encrypt)
{
    struct json_pick plain[] = {{.key = "encrypt"}};
    *root = NULL;
    *encrypt = BYTES_LIT("");
    if (json_pick(body, plain, 1) && plain[0].string.len > 0) {
        *encrypt = plain[0].string;
        return BRG_OK;
    }
    *root = json_parse(body, JSON_CALLBACK, NULL);
    const struct json *member = json_get(*root, "encrypt");
    *encrypt = json_string(is_string(member) ? member : json_get(*root, "Encrypt"));
    if (encrypt->len > 0)
        return BRG_OK;
    json_free(*root);
    *root = NULL;
    return BRG_REJECT;
}

/* What its type needs beyond msgid and msgtype; all else is passed on as it came. */
static enum wecom_kind classify(struct wecom_callback *out)
{
    if (bytes_eq_str(out->msgtype, "text")) {
        const struct json *content = json_at(out->root, "/text/content");
        out->text = json_string(content);
        return is_string(content) ? WECOM_TEXT : WECOM_BROKEN;
    }
    if (bytes_eq_str(out->msgtype, "stream")) {
        const struct json *id = json_at(out->root, "/stream/id");
        out->stream_id = json_string(id);
        return is_string(id) ? WECOM_REFRESH : WECOM_BROKEN;
    }
    if (bytes_eq_str(out->msgtype, "event")) {
        out->event_type = json_string(json_at(out->root, "/event/eventtype"));
        return WECOM_EVENT;
    }
    return WECOM_OTHER;
}

static bool is_msgid(struct bytes id)
{
    return id.len > 0 && id.len <= WECOM_MSGID_MAX_BYTES;
}

/* A chat id is sent for groups only; enter_chat comes without chattype. */
static bool is_group(struct bytes chat_type, bool has_chat_type, struct bytes chat_id)
{
    return has_chat_type ? bytes_eq_str(chat_type, "group") : chat_id.len > 0;
}

/* Refreshes are most of what comes in, and nobody needs more of them than these members. What
 * is unusual about one is left to the general way. */
static bool parse_refresh(struct bytes text, struct wecom_callback *out)
{
    enum { MSGID, AIBOTID, CHAT_ID, CHAT_TYPE, MSGTYPE, RESPONSE_URL, USER_ID, STREAM_ID };
    struct json_pick p[] = {
        [MSGID] = {.key = "msgid"},          [AIBOTID] = {.key = "aibotid"},
        [CHAT_ID] = {.key = "chatid"},       [CHAT_TYPE] = {.key = "chattype"},
        [MSGTYPE] = {.key = "msgtype"},      [RESPONSE_URL] = {.key = "response_url"},
        [USER_ID] = {"from", "userid", {0}}, [STREAM_ID] = {"stream", "id", {0}},
    };
    static const char mark[] = "\"stream\"";
    if (text.len == 0 || !memmem(text.ptr, text.len, mark, sizeof mark - 1))
        return false;
    if (!json_pick(text, p, sizeof p / sizeof p[0]))
        return false;
    if (!bytes_eq_str(p[MSGTYPE].string, "stream") || !is_msgid(p[MSGID].string) ||
        !p[STREAM_ID].string.ptr)
        return false;
    *out = (struct wecom_callback){
        .kind = WECOM_REFRESH,
        .msgid = p[MSGID].string,
        .aibotid = p[AIBOTID].string,
        .chat_id = p[CHAT_ID].string,
        .user_id = p[USER_ID].string,
        .msgtype = p[MSGTYPE].string,
        .response_url = p[RESPONSE_URL].string,
        .stream_id = p[STREAM_ID].string,
        .is_group = is_group(p[CHAT_TYPE].string, p[CHAT_TYPE].string.ptr, p[CHAT_ID].string),
    };
    return true;
}

void wecom_parse(struct bytes text, struct wecom_callback *out)
{
    if (parse_refresh(text, out))
        return;
    *out = (struct wecom_callback){.kind = WECOM_BROKEN};
    out->root = json_parse(text, JSON_PEER, NULL);
    out->msgid = json_get_string(out->root, "msgid");
    out->aibotid = json_get_string(out->root, "aibotid");
    out->chat_id = json_get_string(out->root, "chatid");
    out->user_id = json_string(json_at(out->root, "/from/userid"));
    out->msgtype = json_get_string(out->root, "msgtype");
    out->response_url = json_get_string(out->root, "response_url");
    const struct json *chat_type = json_get(out->root, "chattype");
    out->is_group = is_group(json_string(chat_type), chat_type, out->chat_id);
    if (is_msgid(out->msgid) && out->msgtype.len > 0)
        out->kind = classify(out);
}
