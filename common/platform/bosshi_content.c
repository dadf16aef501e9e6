/* The readable text of a message, its parts and mentions. Formats: BOSSHI's message event for
 * text; the other types as Feishu describes them (im-v1 message_content), of which BOSSHI's
 * own list is not known. */
#include "platform/bosshi.h"

#include "json/json_writer.h"

#include <stdlib.h>

/* Above it they stay keys in the text: a group's message names a handful. */
enum { MENTIONS_MAX = 512 };

struct mention {
    struct bytes key, name;
    bool is_self;
    int shorter; /* index of the longest other key that this one begins with, or -1 */
};

struct content {
    struct bosshi_content *out;
    struct json_writer parts;
    size_t part_start; /* of the text that no part has yet */
    bool has_parts;
    bool is_self_removed;
    struct mention mentions[MENTIONS_MAX];
    size_t mention_count;
    bool begins_key[UINT8_MAX + 1]; /* by the first byte */
};

/* --- mentions --- */

static bool is_self(const struct bosshi_self *self, struct bytes open_id, struct bytes name)
{
    if (*self->open_id && bytes_eq_str(open_id, self->open_id))
        return true;
    for (char *const *known = self->names; known && *known; known++)
        if (bytes_eq_str(name, *known))
            return true;
    return false;
}

static void write_optional(struct json_writer *w, const char *key, struct bytes value)
{
    if (value.len > 0)
        json_str(w, key, value);
}

static void write_mention(struct json_writer *w, const struct json *j, const struct mention *m)
{
    const struct json *ids = json_get(j, "id");
    json_open(w, NULL, '{');
    json_str(w, "key", m->key);
    json_str(w, "name", m->name);
    json_open(w, "ids", '{');
    write_optional(w, "open_id", json_get_string(ids, "open_id"));
    write_optional(w, "union_id", json_get_string(ids, "union_id"));
    write_optional(w, "user_id", json_get_string(ids, "user_id"));
    json_close(w, '}');
    write_optional(w, "tenant", json_get_string(j, "tenant_key"));
    if (m->is_self)
        json_boolean(w, "self", true);
    json_close(w, '}');
}

static int by_key(const void *a, const void *b)
{
    struct bytes left = ((const struct mention *)a)->key;
    struct bytes right = ((const struct mention *)b)->key;
    size_t common = left.len < right.len ? left.len : right.len;
    int order = common > 0 ? memcmp(left.ptr, right.ptr, common) : 0;
    return order != 0 ? order : (left.len > right.len) - (left.len < right.len);
}

/* Sorted, with what each key begins with behind it. */
static void index_mentions(struct content *c)
{
    struct mention *all = c->mentions;
    qsort(all, c->mention_count, sizeof *all, by_key);
    for (size_t i = 0; i < c->mention_count; i++) {
        int shorter = (int)i - 1;
        while (shorter >= 0 && !bytes_starts_with(all[i].key, all[shorter].key))
            shorter = all[shorter].shorter;
        all[i].shorter = shorter;
        c->begins_key[(unsigned char)*all[i].key.ptr] = true;
    }
}

static void read_mentions(struct content *c, const struct json *list,
                          const struct bosshi_self *self)
{
    struct json_writer w;
    size_t count = json_length(list);
    if (count == 0)
        return;
    json_begin(&w, &c->out->mentions);
    json_open(&w, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        const struct json *j = json_item(list, i);
        struct mention m = {.key = json_get_string(j, "key"),
                            .name = json_get_string(j, "name")};
        m.is_self = is_self(self, json_string(json_at(j, "/id/open_id")), m.name);
        write_mention(&w, j, &m);
        if (m.key.len > 0 && c->mention_count < MENTIONS_MAX)
            c->mentions[c->mention_count++] = m;
    }
    json_close(&w, ']');
    index_mentions(c);
}

static size_t common_length(struct bytes a, struct bytes b)
{
    size_t len = 0;
    while (len < a.len && len < b.len && a.ptr[len] == b.ptr[len])
        len++;
    return len;
}

/* The mention with the longest key that `text` begins with: "@_user_1" begins "@_user_10". It
 * is the last key that sorts before the text, or one that this key begins with. */
static const struct mention *mention_at(const struct content *c, struct bytes text)
{
    if (text.len == 0 || !c->begins_key[(unsigned char)*text.ptr])
        return NULL;
    const struct mention wanted = {.key = text};
    size_t from = 0, to = c->mention_count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (by_key(&c->mentions[middle], &wanted) <= 0)
            from = middle + 1;
        else
            to = middle;
    }
    int at = (int)from - 1;
    size_t common = at < 0 ? 0 : common_length(c->mentions[at].key, text);
    while (at >= 0 && c->mentions[at].key.len > common)
        at = c->mentions[at].shorter;
    return at < 0 ? NULL : &c->mentions[at];
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool ends_in_space(const struct buf *text)
{
    return text->len == 0 || is_space(text->ptr[text->len - 1]);
}

/* Writes what stands for the mention; returns how many bytes of `text` that took. */
static size_t replace(struct content *c, const struct mention *m, struct bytes text)
{
    struct buf *out = &c->out->text;
    size_t used = m->key.len;
    if (m->is_self) {
        c->is_self_removed = true;
        /* The space that set it off goes too. */
        if (ends_in_space(out) && used < text.len && text.ptr[used] == ' ')
            used++;
    } else if (m->name.len > 0) {
        buf_append_char(out, '@');
        buf_append(out, m->name);
    } else {
        buf_append(out, m->key);
    }
    return used;
}

static void append_text(struct content *c, struct bytes text)
{
    static const struct bytes all = {"@_all", 5}; /* comes without a mention */
    size_t start = 0, at = 0;
    struct buf *out = &c->out->text;
    while (at < text.len && !out->overflowed) {
        struct bytes rest = bytes_of(text.ptr + at, text.len - at);
        const struct mention *m = mention_at(c, rest);
        bool is_all = !m && bytes_starts_with(rest, all);
        if (!m && !is_all) {
            at++;
            continue;
        }
        buf_append(out, bytes_of(text.ptr + start, at - start));
        if (is_all)
            buf_append_str(out, "@所有人");
        at += is_all ? all.len : replace(c, m, rest);
        start = at;
    }
    buf_append(out, bytes_of(text.ptr + start, text.len - start));
}

/* --- parts --- */

static struct bytes trim(struct bytes text)
{
    while (text.len > 0 && is_space(text.ptr[0]))
        text = bytes_of(text.ptr + 1, text.len - 1);
    while (text.len > 0 && is_space(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static void begin_parts(struct content *c)
{
    if (!c->has_parts) {
        json_begin(&c->parts, &c->out->parts);
        json_open(&c->parts, NULL, '[');
    }
    c->has_parts = true;
}

/* What was written to the text since the last part. */
static void flush_text(struct content *c)
{
    const struct buf *all = &c->out->text;
    struct bytes text = bytes_of(NULL, 0);
    if (all->len > c->part_start)
        text = trim(bytes_of(all->ptr + c->part_start, all->len - c->part_start));
    c->part_start = all->len;
    if (text.len == 0)
        return;
    begin_parts(c);
    json_open(&c->parts, NULL, '{');
    json_str(&c->parts, "type", BYTES_LIT("text"));
    json_str(&c->parts, "text", text);
    json_close(&c->parts, '}');
}

/* What is attached, and what stands for it in the text. */
struct attachment {
    const char *type; /* of the platform */
    const char *part; /* of the record */
    const char *label;
    const char *key; /* member with the key */
};
static const struct attachment attachments[] = {
    {"image", "image", "[图片]", "image_key"},    {"img", "image", "[图片]", "image_key"},
    {"file", "file", "[文件]", "file_key"},       {"folder", "folder", "[文件夹]", "file_key"},
    {"audio", "voice", "[语音]", "file_key"},     {"media", "video", "[视频]", "file_key"},
    {"sticker", "sticker", "[表情]", "file_key"},
};

static const struct attachment *attachment_of(struct bytes type)
{
    for (size_t i = 0; i < sizeof attachments / sizeof attachments[0]; i++)
        if (bytes_eq_str(type, attachments[i].type))
            return &attachments[i];
    return NULL;
}

static void append_attachment(struct content *c, const struct attachment *a,
                              const struct json *j)
{
    struct buf *text = &c->out->text;
    struct bytes name = json_get_string(j, "file_name");
    int64_t duration_ms = 0;
    const struct json *duration = json_get(j, "duration");
    if (!bytes_to_i64(json_string(duration), &duration_ms))
        duration_ms = json_int(duration, 0);
    flush_text(c);
    begin_parts(c);
    json_open(&c->parts, NULL, '{');
    json_str(&c->parts, "type", bytes_of_str(a->part));
    write_optional(&c->parts, "key", json_get_string(j, a->key));
    write_optional(&c->parts, "name", name);
    if (duration_ms > 0)
        json_i64(&c->parts, "duration_ms", duration_ms);
    json_close(&c->parts, '}');
    buf_append_str(text, a->label);
    if (name.len > 0) {
        buf_append_char(text, ' ');
        buf_append(text, name);
    }
    c->part_start = text->len;
}

/* --- rich text --- */

static void append_link(struct content *c, const struct json *j)
{
    struct bytes text = json_get_string(j, "text"), href = json_get_string(j, "href");
    if (href.len == 0 || bytes_eq(text, href)) {
        append_text(c, text);
        return;
    }
    buf_append_char(&c->out->text, '[');
    append_text(c, text.len > 0 ? text : href);
    buf_append_str(&c->out->text, "](");
    buf_append(&c->out->text, href);
    buf_append_char(&c->out->text, ')');
}

static void append_at(struct content *c, const struct json *j)
{
    struct bytes key = json_get_string(j, "user_id"), name = json_get_string(j, "user_name");
    if (mention_at(c, key) || name.len == 0) {
        append_text(c, key);
        return;
    }
    buf_append_char(&c->out->text, '@');
    buf_append(&c->out->text, name);
}

static void append_code(struct content *c, const struct json *j)
{
    struct buf *out = &c->out->text;
    struct bytes code = json_get_string(j, "text");
    buf_append_str(out, "```");
    buf_append(out, json_get_string(j, "language"));
    buf_append_char(out, '\n');
    buf_append(out, code);
    buf_append_str(out, code.len > 0 && code.ptr[code.len - 1] == '\n' ? "```" : "\n```");
}

static void append_emotion(struct content *c, const struct json *j)
{
    buf_append_char(&c->out->text, '[');
    buf_append(&c->out->text, json_get_string(j, "emoji_type"));
    buf_append_char(&c->out->text, ']');
}

static void append_rule(struct content *c, const struct json *j)
{
    (void)j;
    buf_append_str(&c->out->text, "---");
}

static void append_element(struct content *c, const struct json *j)
{
    static const struct {
        const char *tag;
        void (*append)(struct content *c, const struct json *j);
    } tags[] = {{"a", append_link},
                {"at", append_at},
                {"code_block", append_code},
                {"emotion", append_emotion},
                {"hr", append_rule}};
    struct bytes tag = json_get_string(j, "tag");
    const struct attachment *a = attachment_of(tag);
    if (a) {
        append_attachment(c, a, j);
        return;
    }
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (bytes_eq_str(tag, tags[i].tag)) {
            tags[i].append(c, j);
            return;
        }
    }
    append_text(c, json_get_string(j, "text"));
}

static void find_language(struct bytes key, const struct json *value, void *arg)
{
    const struct json **post = arg;
    (void)key;
    if (!*post && json_type(json_get(value, "content")) == JSON_ARRAY)
        *post = value;
}

static const char *read_post(struct content *c, const struct json *content)
{
    const struct json *post = NULL;
    if (json_type(json_get(content, "content")) == JSON_ARRAY)
        post = content;
    else /* {"zh_cn":{…}}, as posts are sent */
        json_each(content, find_language, &post);
    if (!post)
        return "content has no lines";
    const struct json *lines = json_get(post, "content");
    struct bytes title = json_get_string(post, "title");
    buf_append(&c->out->text, title);
    for (size_t i = 0; i < json_length(lines); i++) {
        const struct json *line = json_item(lines, i);
        if (i > 0 || title.len > 0)
            buf_append_char(&c->out->text, '\n');
        for (size_t k = 0; k < json_length(line); k++)
            append_element(c, json_item(line, k));
    }
    flush_text(c);
    return NULL;
}

/* --- by type --- */

static const char *read_plain(struct content *c, const struct json *content)
{
    const struct json *text = json_get(content, "text");
    if (json_type(text) != JSON_STRING)
        return "content has no text";
    append_text(c, json_string(text));
    return NULL;
}

/* "[vote] topic": the type, and the first member that reads like a heading. */
static void read_other(struct content *c, struct bytes type, const struct json *content)
{
    static const char *const headings[] = {"title", "text", "topic", "summary", "name"};
    struct buf *out = &c->out->text;
    buf_append_char(out, '[');
    buf_append(out, type);
    buf_append_char(out, ']');
    for (size_t i = 0; i < sizeof headings / sizeof headings[0]; i++) {
        struct bytes heading = json_get_string(content, headings[i]);
        if (heading.len == 0)
            continue;
        buf_append_char(out, ' ');
        append_text(c, heading);
        break;
    }
    begin_parts(c);
    json_open(&c->parts, NULL, '{');
    json_str(&c->parts, "type", type);
    json_close(&c->parts, '}');
}

static const char *read_known(struct content *c, struct bytes type, const struct json *content)
{
    const struct attachment *a = attachment_of(type);
    if (json_type(content) != JSON_OBJECT)
        return "content is not a JSON object";
    if (bytes_eq_str(type, "text"))
        return read_plain(c, content);
    if (bytes_eq_str(type, "post"))
        return read_post(c, content);
    append_attachment(c, a, content);
    return NULL;
}

static void trim_text(struct buf *text)
{
    while (text->len > 0 && is_space(text->ptr[text->len - 1]))
        text->len--;
    size_t lead = 0;
    while (lead < text->len && is_space(text->ptr[lead]))
        lead++;
    buf_consume(text, lead);
}

const char *bosshi_read_content(const struct bosshi_message *m, const struct bosshi_self *self,
                                struct bosshi_content *out)
{
    struct content c = {.out = out};
    struct json *content = json_parse(m->content, JSON_CALLBACK, NULL);
    bool is_known = bytes_eq_str(m->type, "text") || bytes_eq_str(m->type, "post") ||
                    attachment_of(m->type);
    const char *why = NULL;
    read_mentions(&c, m->mentions, self);
    if (is_known)
        why = read_known(&c, m->type, content);
    else /* merge_forward has a fixed text instead of JSON */
        read_other(&c, m->type, content);
    if (c.has_parts)
        json_close(&c.parts, ']');
    if (c.is_self_removed)
        trim_text(&out->text);
    json_free(content);
    if (!why && (out->text.overflowed || out->parts.overflowed || out->mentions.overflowed))
        why = "content is too large";
    return why;
}

void bosshi_content_init(struct bosshi_content *content, size_t max)
{
    buf_init(&content->text, max);
    buf_init(&content->parts, max);
    buf_init(&content->mentions, max);
}

void bosshi_content_free(struct bosshi_content *content)
{
    buf_free(&content->text);
    buf_free(&content->parts);
    buf_free(&content->mentions);
}
