#include "config/config.h"

struct parts {
    struct bytes before, after; /* the number */
    bool has_number;
};

static struct parts split(const char *text)
{
    const char *number = strstr(text, CONFIG_QUEUE_NUMBER);
    struct bytes whole = bytes_of_str(text);
    if (!number)
        return (struct parts){.before = whole};
    size_t head = (size_t)(number - text);
    size_t tail = head + sizeof(CONFIG_QUEUE_NUMBER) - 1;
    return (struct parts){
        .before = bytes_of(text, head),
        .after = bytes_of(text + tail, whole.len - tail),
        .has_number = true,
    };
}

bool config_has_queue_text(const struct config_bot *bot)
{
    return bot->queue_text && bot->queue_text[0] != 0; /* not every platform has the key */
}

void config_write_queue_text(const struct config_bot *bot, size_t ahead, struct buf *out)
{
    struct parts p = split(bot->queue_text);
    buf_append(out, p.before);
    if (p.has_number)
        buf_printf(out, "%zu", ahead);
    buf_append(out, p.after);
}

bool config_is_queue_text(const struct config_bot *bot, struct bytes text)
{
    if (!config_has_queue_text(bot))
        return false;
    struct parts p = split(bot->queue_text);
    if (!bytes_starts_with(text, p.before))
        return false;
    size_t digits = p.before.len;
    while (p.has_number && digits < text.len && text.ptr[digits] >= '0' &&
           text.ptr[digits] <= '9')
        digits++;
    bool has_number = digits > p.before.len;
    return has_number == p.has_number &&
           bytes_eq(bytes_of(text.ptr + digits, text.len - digits), p.after);
}
