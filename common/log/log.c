#include "log/log.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

enum {
    TEXT_BYTES = 2048,
    /* A pipe that is writable takes PIPE_BUF bytes at once: a longer line could block. */
    LINE_BYTES = PIPE_BUF,
    TAIL_BYTES = 48, /* kept for "...", the count of swallowed lines and the newline */
    READY_WAIT_MS = 1000,
};

struct line {
    char text[LINE_BYTES];
    size_t len;
    bool is_cut;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static _Atomic int current_level = LOG_INFO;
static _Atomic unsigned long long dropped;
static atomic_flag is_ready_printed = ATOMIC_FLAG_INIT;

/* Held over "is there room" and the write that relies on it; the innermost lock of all. */
static pthread_mutex_t stderr_lock = PTHREAD_MUTEX_INITIALIZER;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_level_from(struct bytes name, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (bytes_eq_str(name, level_names[i])) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&current_level, memory_order_relaxed);
}

unsigned long long log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

/* stderr may be shared with other processes, so it is not made non-blocking: that would be a
 * property of their descriptor too. */
static void write_line(struct line *line, unsigned swallowed, int wait_ms)
{
    char more[32] = "";
    if (swallowed > 0)
        (void)snprintf(more, sizeof(more), " swallowed=%u", swallowed);
    line->len += (size_t)snprintf(line->text + line->len, sizeof(line->text) - line->len,
                                  "%s%s\n", line->is_cut ? "..." : "", more);
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    bool is_written = false;
    pthread_mutex_lock(&stderr_lock);
    if (poll(&room, 1, wait_ms) == 1 && (room.revents & POLLOUT))
        is_written = write(STDERR_FILENO, line->text, line->len) > 0;
    pthread_mutex_unlock(&stderr_lock);
    if (!is_written)
        atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
}

/* Adds all of `data` or ends the line: a value that lost bytes in its middle would mislead. */
static void put_bytes(struct line *line, const char *data, size_t len)
{
    if (line->is_cut || len > sizeof(line->text) - TAIL_BYTES - line->len) {
        line->is_cut = true;
        return;
    }
    memcpy(line->text + line->len, data, len);
    line->len += len;
}

static void put_str(struct line *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

static void put_escaped(struct line *line, unsigned char c)
{
    char hex[8];
    switch (c) {
    case '\n':
        put_str(line, "\\n");
        break;
    case '\r':
        put_str(line, "\\r");
        break;
    case '\t':
        put_str(line, "\\t");
        break;
    default:
        (void)snprintf(hex, sizeof(hex), "\\x%02x", c);
        put_str(line, hex);
        break;
    }
}

/* The C1 controls U+0080..U+009F, which terminals obey too, are C2 80..9F in UTF-8. */
static bool is_control(const unsigned char *at, size_t len)
{
    if (len == 1)
        return at[0] < 0x20 || at[0] == 0x7F;
    return len == 2 && at[0] == 0xC2 && at[1] < 0xA0;
}

/* Values may come from a peer: nothing in them may end the line or speak to a terminal. */
static void put_text(struct line *line, struct bytes text)
{
    bool is_utf8 = utf8_is_valid(text);
    for (size_t i = 0, len = 0; i < text.len; i += len) {
        const unsigned char *at = (const unsigned char *)text.ptr + i;
        len = 1;
        while (is_utf8 && i + len < text.len && (at[len] & 0xC0) == 0x80)
            len++;
        if (!is_control(at, len) && (is_utf8 || at[0] < 0x80)) {
            put_bytes(line, text.ptr + i, len);
            continue;
        }
        for (size_t k = 0; k < len; k++)
            put_escaped(line, at[k]);
    }
}

static void put_format(struct line *line, const char *fmt, va_list args) BRG_PRINTF(2, 0);
static void put_format(struct line *line, const char *fmt, va_list args)
{
    char text[TEXT_BYTES];
    int wanted = vsnprintf(text, sizeof(text), fmt, args);
    if (wanted <= 0)
        return;
    size_t len = (size_t)wanted;
    if (len < sizeof(text)) {
        put_text(line, bytes_of(text, len));
        return;
    }
    put_text(line, bytes_of(text, utf8_complete(bytes_of(text, sizeof(text) - 1))));
    line->is_cut = true;
}

/* False when the site has had its lines of this second; *swallowed is what earlier seconds
 * withheld. */
static bool site_may_log(struct log_site *site, unsigned *swallowed)
{
    long long second = clock_mono_ms() / 1000;
    long long last = atomic_load_explicit(&site->second, memory_order_relaxed);
    *swallowed = 0;
    if (last != second && atomic_compare_exchange_strong(&site->second, &last, second)) {
        unsigned count = atomic_exchange(&site->count, 1);
        *swallowed = count > LOG_BURST ? count - LOG_BURST : 0;
        return true;
    }
    return atomic_fetch_add(&site->count, 1) < LOG_BURST;
}

void log_line(struct log_site *site, enum log_level level, const char *module,
              const char *event, const char *fmt, ...)
{
    unsigned swallowed;
    if (!site_may_log(site, &swallowed))
        return;

    int saved_errno = errno;
    struct line line;
    line.len = 0;
    line.is_cut = false;
    char now[CLOCK_RFC3339_BYTES];
    clock_rfc3339(clock_wall_ms(), now);
    put_str(&line, now);
    put_str(&line, " ");
    put_str(&line, level_names[level]);
    put_str(&line, " ");
    put_str(&line, module);
    put_str(&line, " ");
    put_str(&line, event);
    va_list args;
    va_start(args, fmt);
    put_format(&line, fmt, args);
    va_end(args);
    while (line.len > 0 && line.text[line.len - 1] == ' ')
        line.len--;
    write_line(&line, swallowed, 0);
    errno = saved_errno;
}

void log_ready(const char *fmt, ...)
{
    if (atomic_flag_test_and_set(&is_ready_printed))
        return;
    struct line line;
    line.len = 0;
    line.is_cut = false;
    put_str(&line, "ready ");
    va_list args;
    va_start(args, fmt);
    put_format(&line, fmt, args);
    va_end(args);
    write_line(&line, 0, READY_WAIT_MS);
}
