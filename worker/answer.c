#include "answer.h"

#include "base/utf8.h"

#define THINK_OPEN "<think>"
#define THINK_CLOSE "\n</think>"
#define TAIL_GAP "\n\n"

void answer_init(struct answer *a, size_t limit_bytes, size_t tail_max_bytes)
{
    size_t reserve = sizeof(THINK_CLOSE) - 1 + sizeof(TAIL_GAP) - 1 + tail_max_bytes;
    buf_init(&a->text, ANSWER_MAX_BYTES);
    a->limit_bytes = limit_bytes;
    a->reserve_bytes = reserve < limit_bytes ? reserve : limit_bytes;
}

void answer_free(struct answer *a)
{
    buf_free(&a->text);
}

void answer_clear(struct answer *a)
{
    buf_reset(&a->text);
}

bool answer_append(struct answer *a, struct bytes text)
{
    buf_append(&a->text, text);
    return !a->text.overflowed;
}

bool answer_replace(struct answer *a, struct bytes text)
{
    if (text.len > ANSWER_MAX_BYTES)
        return false;
    buf_reset(&a->text);
    return answer_append(a, text);
}

static struct bytes cut_at(const struct answer *a, size_t max_bytes)
{
    struct bytes whole = bytes_of(a->text.ptr, utf8_complete(buf_bytes(&a->text)));
    return bytes_of(whole.ptr, utf8_cut(whole, max_bytes));
}

struct bytes answer_visible(const struct answer *a)
{
    return cut_at(a, a->limit_bytes - a->reserve_bytes);
}

/* Is there a <think> after the last </think>? A client would show nothing of what follows. */
static bool is_thinking(struct bytes text)
{
    bool is_open = false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '<')
            continue;
        struct bytes rest = bytes_of(text.ptr + i, text.len - i);
        if (bytes_starts_with(rest, BYTES_LIT(THINK_OPEN)))
            is_open = true;
        else if (bytes_starts_with(rest, BYTES_LIT("</think>")))
            is_open = false;
    }
    return is_open;
}

void answer_compose(const struct answer *a, struct bytes tail, struct buf *out)
{
    size_t tail_bytes = tail.len > 0 ? tail.len + sizeof(TAIL_GAP) - 1 : 0;
    size_t room = tail_bytes < a->limit_bytes ? a->limit_bytes - tail_bytes : 0;
    struct bytes text = cut_at(a, room);
    size_t close_bytes = sizeof(THINK_CLOSE) - 1;
    bool has_open_thought = is_thinking(text);
    if (has_open_thought)
        text = cut_at(a, room > close_bytes ? room - close_bytes : 0);
    buf_append(out, text);
    if (has_open_thought)
        buf_append_str(out, THINK_CLOSE);
    if (tail.len == 0)
        return;
    if (text.len > 0)
        buf_append_str(out, TAIL_GAP);
    buf_append(out, bytes_of(tail.ptr, utf8_cut(tail, a->limit_bytes)));
}
