#include "platform/wecom.h"

static bool is_string(const struct json *j)
{
    return json_type(j) == JSON_STRING;
}

/* The documentation writes `encrypt`, other callbacks of the platform `Encrypt`. */
enum brg_err wecom_parse_body(struct bytes body, struct json **root, struct bytes *encrypt)
{
    *encrypt = BYTES_LIT("");
    *root = json_parse(body, JSON_PEER, NULL);
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

void wecom_parse(struct bytes text, struct wecom_callback *out)
{
    *out = (struct wecom_callback){.kind = WECOM_BROKEN};
    out->root = json_parse(text, JSON_PEER, NULL);
    out->msgid = json_get_string(out->root, "msgid");
    out->aibotid = json_get_string(out->root, "aibotid");
    out->chat_id = json_get_string(out->root, "chatid");
    out->user_id = json_string(json_at(out->root, "/from/userid"));
    out->msgtype = json_get_string(out->root, "msgtype");
    out->response_url = json_get_string(out->root, "response_url");
    /* enter_chat comes without chattype; a chat id is sent for groups only. */
    const struct json *chat_type = json_get(out->root, "chattype");
    out->is_group =
        chat_type ? bytes_eq_str(json_string(chat_type), "group") : out->chat_id.len > 0;
    bool has_id = out->msgid.len > 0 && out->msgid.len <= WECOM_MSGID_MAX_BYTES;
    if (has_id && out->msgtype.len > 0)
        out->kind = classify(out);
}
