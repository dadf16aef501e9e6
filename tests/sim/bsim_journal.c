#include "bsim_journal.h"

#include "base/clock.h"

#include <stdarg.h>

void bsim_journal_init(struct bsim_journal *j)
{
    *j = (struct bsim_journal){.count = 0};
    buf_init(&j->text, BSIM_JOURNAL_MAX_BYTES);
}

void bsim_journal_free(struct bsim_journal *j)
{
    buf_free(&j->text);
    free(j->ends);
}

struct json_writer *bsim_journal_begin(struct bsim_journal *j, const char *type)
{
    json_begin(&j->writer, &j->text);
    json_open(&j->writer, NULL, '{');
    json_i64(&j->writer, "seq", (int64_t)j->count + 1);
    json_i64(&j->writer, "at_ms", clock_wall_ms());
    json_str(&j->writer, "type", bytes_of_str(type));
    return &j->writer;
}

void bsim_journal_end(struct bsim_journal *j)
{
    json_close(&j->writer, '}');
    buf_append_char(&j->text, '\n');
    BRG_CHECK(!j->text.overflowed); /* a test of that size is a mistake */
    if (j->count == j->room) {
        j->room = j->room ? 2 * j->room : 256;
        j->ends = brg_realloc(j->ends, j->room * sizeof(*j->ends));
    }
    j->ends[j->count++] = j->text.len;
    if (j->is_printed) {
        struct bytes line = bsim_journal_after(j, j->count - 1);
        fwrite(line.ptr, 1, line.len, stdout);
        fflush(stdout);
    }
}

void bsim_journal_broken(struct bsim_journal *j, const char *rule, const char *fmt, ...)
{
    char detail[256];
    va_list list;
    va_start(list, fmt);
    vsnprintf(detail, sizeof detail, fmt, list);
    va_end(list);
    struct json_writer *w = bsim_journal_begin(j, "broken");
    json_str(w, "rule", bytes_of_str(rule));
    json_str(w, "detail", bytes_of_str(detail));
    bsim_journal_end(j);
    if (j->on_broken)
        j->on_broken(rule, detail, j->arg);
}

struct bytes bsim_journal_after(const struct bsim_journal *j, size_t after)
{
    size_t from = after == 0 ? 0 : after <= j->count ? j->ends[after - 1] : j->text.len;
    return bytes_of(j->text.ptr + from, j->text.len - from);
}
