#include "render.h"

#include "base/utf8.h"

#define NOTICE_GAP "\n\n"

struct record record_of(const struct store_reply *reply, int64_t latest_ms)
{
    int64_t deadline_ms = reply->deadline_at_ms;
    return (struct record){
        .state = reply->state,
        .reason = reply->reason,
        .by_ingress = reply->by_ingress,
        .text = reply->text,
        .start_at_ms = reply->start_at_ms,
        .deadline_at_ms = deadline_ms < latest_ms ? deadline_ms : latest_ms,
    };
}

struct record record_of_answer(const struct record *r, const struct config_bot *bot)
{
    struct record out = *r;
    if (r->state != STREAM_FINAL || r->by_ingress)
        out.text = config_is_queue_text(bot, r->text) ? bytes_of(NULL, 0) : r->text;
    return out;
}

int64_t start_before_receipt_ms(int64_t url_timestamp_s, int64_t wall_now_ms)
{
    /* Compared in seconds first: a timestamp is a peer's number and may be any. */
    if (url_timestamp_s > wall_now_ms / 1000)
        return 0;
    if (url_timestamp_s < (wall_now_ms - START_BEFORE_RECEIPT_MAX_MS) / 1000)
        return START_BEFORE_RECEIPT_MAX_MS;
    int64_t before_ms = wall_now_ms - url_timestamp_s * 1000;
    return before_ms < START_BEFORE_RECEIPT_MAX_MS ? before_ms : START_BEFORE_RECEIPT_MAX_MS;
}

enum stream_reason render_due(const struct record *r, int64_t now_ms, int64_t unknown_ms)
{
    if (r->state == STREAM_FINAL)
        return REASON_NONE;
    bool is_past_deadline = now_ms >= r->deadline_at_ms;
    if (r->state == STREAM_UNKNOWN &&
        (is_past_deadline || now_ms >= r->start_at_ms + unknown_ms))
        return REASON_LOST;
    return is_past_deadline ? REASON_DEADLINE : REASON_NONE;
}

static struct bytes cut(struct bytes text, size_t max_bytes)
{
    return bytes_of(text.ptr, utf8_cut(text, max_bytes));
}

/* The notice comes whole; the text gives way. */
static struct bytes text_and_notice(struct bytes text, struct bytes notice, struct buf *scratch)
{
    struct bytes gap = BYTES_LIT(NOTICE_GAP);
    notice = cut(notice, WECOM_CONTENT_MAX_BYTES);
    if (text.len == 0 || notice.len + gap.len >= WECOM_CONTENT_MAX_BYTES)
        return notice;
    buf_reset(scratch);
    buf_append(scratch, cut(text, WECOM_CONTENT_MAX_BYTES - gap.len - notice.len));
    buf_append(scratch, gap);
    buf_append(scratch, notice);
    return buf_bytes(scratch);
}

static struct bytes ended_by_ingress(const struct record *r, const struct config_bot *bot,
                                     struct buf *scratch)
{
    switch (r->reason) {
    case REASON_BUSY:
        return bytes_of_str(bot->busy_text);
    case REASON_LOST:
        return bytes_of_str(bot->lost_text);
    case REASON_STOPPED:
        return bytes_of_str(bot->apology_text);
    case REASON_DEADLINE:
        return text_and_notice(record_of_answer(r, bot).text, bytes_of_str(bot->notice_text),
                               scratch);
    default:
        return bytes_of_str(bot->notice_text);
    }
}

struct rendering render(const struct record *r, const struct config_bot *bot,
                        struct buf *scratch)
{
    struct rendering out = {.finish = r->state == STREAM_FINAL};
    if (out.finish && r->by_ingress)
        out.content = ended_by_ingress(r, bot, scratch);
    else if (r->text.len > 0)
        out.content = r->text;
    else /* a final text that is gone (its key lives shorter than the record) is lost */
        out.content = bytes_of_str(out.finish ? bot->lost_text : bot->placeholder);
    if (out.content.len > WECOM_CONTENT_MAX_BYTES)
        out.content = cut(out.content, WECOM_CONTENT_MAX_BYTES);
    return out;
}
