#include "bsim_rules.h"

#include <stdarg.h>

#define WRAPPER "compressiveCardContent"

bool bsim_refuse(struct bsim_verdict *v, enum bsim_code code, const char *fmt, ...)
{
    va_list list;
    v->code = code;
    va_start(list, fmt);
    vsnprintf(v->msg, sizeof v->msg, fmt, list);
    va_end(list);
    return false;
}

enum bsim_type bsim_type_of(struct bytes msg_type)
{
    if (bytes_eq_str(msg_type, "text"))
        return BSIM_TYPE_TEXT;
    return bytes_eq_str(msg_type, "compressive_card") ? BSIM_TYPE_CARD : BSIM_TYPE_OTHER;
}

int64_t bsim_length(const struct bsim_settings *s, struct bytes text)
{
    int64_t characters = 0;
    if (s->limit_unit == BSIM_BYTES)
        return (int64_t)text.len;
    for (size_t i = 0; i < text.len; i++)
        characters += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    return characters;
}

static bool check_length(const struct bsim_settings *s, struct bytes text, int64_t limit,
                         struct bsim_verdict *v)
{
    int64_t length = bsim_length(s, text);
    if (length > limit)
        return bsim_refuse(v, BSIM_CODE_LENGTH, "content too long: %lld of %lld",
                           (long long)length, (long long)limit);
    return true;
}

/* A card under examination. */
struct card {
    const struct bsim_settings *settings;
    struct buf *text;
    size_t begin; /* of its text in the buffer */
    struct bsim_verdict *verdict;
};

static bool is_refused(struct card *card, const char *why)
{
    return bsim_refuse(card->verdict, BSIM_CODE_CARD, "card: %s", why);
}

static void add_text(struct card *card, struct bytes text)
{
    if (text.len == 0)
        return;
    if (card->text->len > card->begin)
        buf_append(card->text, BYTES_LIT("\n\n"));
    buf_append(card->text, text);
}

/* {"tag":"plain_text"|"hi_md","content"} */
static bool read_text_object(struct card *card, const struct json *object, bool is_plain)
{
    struct bytes tag = json_get_string(object, "tag");
    bool is_known =
        bytes_eq_str(tag, "plain_text") || (!is_plain && bytes_eq_str(tag, "hi_md"));
    if (!is_known || json_type(json_get(object, "content")) != JSON_STRING)
        return is_refused(card, "a text is {tag: plain_text or hi_md, content}");
    return true;
}

static bool read_div(struct card *card, const struct json *module)
{
    const struct json *text = json_get(module, "text");
    const struct json *fields = json_get(module, "fields");
    if (!text && json_length(fields) == 0)
        return is_refused(card, "a div has text or fields");
    if (text && !read_text_object(card, text, false))
        return false;
    add_text(card, json_get_string(text, "content"));
    for (size_t i = 0; i < json_length(fields); i++) {
        const struct json *field = json_get(json_item(fields, i), "text");
        if (!read_text_object(card, field, false))
            return false;
        add_text(card, json_get_string(field, "content"));
    }
    return true;
}

static bool read_module(struct card *card, const struct json *module)
{
    static const char *const silent[] = {"img", "split_line", "actions", "note"};
    struct bytes tag = json_get_string(module, "tag");
    if (bytes_eq_str(tag, "markdown")) {
        struct bytes content = json_get_string(module, "content");
        if (content.len == 0)
            return is_refused(card, "markdown without content");
        add_text(card, content);
        return true;
    }
    if (bytes_eq_str(tag, "div"))
        return read_div(card, module);
    for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
        if (bytes_eq_str(tag, silent[i]))
            return true;
    return is_refused(card, "a module has an unknown tag");
}

static bool read_header(struct card *card, const struct json *root)
{
    const struct json *header = json_get(root, "header");
    if (!header)
        return card->settings->header_required ? is_refused(card, "header is missing") : true;
    return read_text_object(card, json_get(header, "text"), true);
}

static bool read_card(struct card *card, const struct json *root)
{
    const struct json *modules = json_get(root, "modules");
    if (json_type(root) != JSON_OBJECT)
        return is_refused(card, "no JSON object");
    if (!card->settings->cards)
        return is_refused(card, "cards are not taken here");
    if (!json_bool(json_at(root, "/globalConfig/shareCard"), true))
        return is_refused(card, "without shareCard it cannot be updated");
    if (!read_header(card, root))
        return false;
    if (json_length(modules) == 0)
        return is_refused(card, "modules is missing or empty");
    for (size_t i = 0; i < json_length(modules); i++)
        if (!read_module(card, json_item(modules, i)))
            return false;
    struct bytes shown = bytes_of(card->text->ptr + card->begin, card->text->len - card->begin);
    return check_length(card->settings, shown, card->settings->card_limit, card->verdict);
}

static bool read_card_text(struct card *card, struct bytes text)
{
    struct json *root = json_parse(text, JSON_STRICT, NULL);
    bool is_good = root ? read_card(card, root) : is_refused(card, "the string is no JSON");
    json_free(root);
    return is_good;
}

static bool read_sent_card(struct card *card, const struct json *content)
{
    const struct json *wrapped = json_get(content, WRAPPER);
    int64_t wanted = card->settings->card_wrapper;
    if (wrapped ? wanted == BSIM_WRAP_NONE : wanted == BSIM_WRAP_COMPRESSIVE)
        return is_refused(card, wrapped ? WRAPPER " is not wanted" : WRAPPER " is wanted");
    if (!wrapped)
        return read_card(card, content);
    if (json_type(wrapped) != JSON_STRING)
        return is_refused(card, WRAPPER " is no string");
    return read_card_text(card, json_string(wrapped));
}

static bool read_text(const struct bsim_settings *s, const struct json *content,
                      struct buf *text, struct bsim_verdict *v)
{
    struct bytes t = json_get_string(content, "text");
    if (t.len == 0)
        return bsim_refuse(v, BSIM_CODE_PARAMETER, "content.text is missing or empty");
    buf_append(text, t);
    return check_length(s, t, s->text_limit, v);
}

static bool read_object(const struct bsim_settings *s, enum bsim_type type,
                        const struct json *content, struct buf *text, struct bsim_verdict *v)
{
    struct card card = {s, text, text->len, v};
    if (type == BSIM_TYPE_TEXT)
        return read_text(s, content, text, v);
    if (type == BSIM_TYPE_CARD)
        return read_sent_card(&card, content);
    return bsim_refuse(v, BSIM_CODE_PARAMETER,
                       "msg_type is neither text nor "
                       "compressive_card");
}

bool bsim_content_read(const struct bsim_settings *s, enum bsim_type type,
                       const struct json *content, bool is_update, struct buf *text,
                       struct bsim_verdict *v)
{
    struct card card = {s, text, text->len, v};
    enum json_type shape = json_type(content);
    if (shape != JSON_STRING && (shape != JSON_OBJECT || is_update))
        return bsim_refuse(v, BSIM_CODE_PARAMETER, "content is %s",
                           is_update ? "no string" : "neither object nor string");
    if (is_update)
        return type == BSIM_TYPE_CARD ? read_card_text(&card, json_string(content))
                                      : bsim_refuse(v, BSIM_CODE_PARAMETER,
                                                    "only compressive_card can be "
                                                    "updated");
    if ((s->content == BSIM_CONTENT_OBJECT && shape != JSON_OBJECT) ||
        (s->content == BSIM_CONTENT_STRING && shape != JSON_STRING))
        return bsim_refuse(v, BSIM_CODE_PARAMETER,
                           "content is not as this platform wants "
                           "it: object or string");
    if (shape == JSON_OBJECT)
        return read_object(s, type, content, text, v);
    struct json *root = json_parse(json_string(content), JSON_STRICT, NULL);
    bool is_good = json_type(root) == JSON_OBJECT ? read_object(s, type, root, text, v)
                                                  : bsim_refuse(v, BSIM_CODE_PARAMETER,
                                                                "content is no JSON object "
                                                                "in a string");
    json_free(root);
    return is_good;
}
