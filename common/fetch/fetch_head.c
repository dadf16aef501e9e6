#include "fetch/fetch_head.h"

#include "base/clock.h"

#include <curl/curl.h>

/* A server that asks for more than this asks for never. */
enum { RETRY_AFTER_MAX_S = 86400 };

void head_reader_init(struct head_reader *r, const char *retry_header)
{
    *r = (struct head_reader){.head.retry_after_ms = -1, .retry_header = retry_header};
}

static struct bytes trim(struct bytes text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]))
        text.len--;
    while (text.len > 0 && (*text.ptr == ' ' || *text.ptr == '\t')) {
        text.ptr++;
        text.len--;
    }
    return text;
}

static void read_status(struct head_reader *r, struct bytes line)
{
    const char *blank = memchr(line.ptr, ' ', line.len);
    size_t at = blank ? (size_t)(blank - line.ptr) + 1 : line.len;
    uint64_t status = 0;
    head_reader_init(r, r->retry_header); /* forgets the head of a 1xx answer */
    if (line.len - at >= 3 && bytes_to_u64(bytes_of(line.ptr + at, 3), &status))
        r->head.status = (int)status;
}

static void read_type(struct head_reader *r, struct bytes value)
{
    const char *semicolon = value.len > 0 ? memchr(value.ptr, ';', value.len) : NULL;
    if (semicolon)
        value.len = (size_t)(semicolon - value.ptr);
    value = trim(value);
    if (value.len >= sizeof(r->type))
        return; /* no type that anybody here knows */
    for (size_t i = 0; i < value.len; i++) {
        r->type[i] = value.ptr[i];
        if (value.ptr[i] >= 'A' && value.ptr[i] <= 'Z')
            r->type[i] = (char)(value.ptr[i] + ('a' - 'A'));
    }
    r->head.content_type = bytes_of(r->type, value.len);
}

static bool is_number(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
    return value.len > 0;
}

static int64_t read_retry_date(struct bytes value)
{
    enum { DATE_BYTES = 64 };
    char date[DATE_BYTES];
    if (value.len == 0 || value.len >= sizeof(date))
        return -1;
    memcpy(date, value.ptr, value.len);
    date[value.len] = '\0';
    time_t at = curl_getdate(date, NULL);
    if (at == (time_t)-1)
        return -1;
    int64_t wait_ms = (int64_t)at * 1000 - clock_wall_ms();
    if (wait_ms > (int64_t)RETRY_AFTER_MAX_S * 1000)
        return (int64_t)RETRY_AFTER_MAX_S * 1000;
    return wait_ms > 0 ? wait_ms : 0;
}

/* RFC 9110 10.2.3: seconds or an HTTP date. More than we ever wait is the most, and not absent:
 * who asks for a long pause is not to be called sooner. */
static int64_t read_retry_after(struct bytes value)
{
    uint64_t seconds;
    if (!is_number(value))
        return read_retry_date(value);
    if (!bytes_to_u64(value, &seconds) || seconds > RETRY_AFTER_MAX_S)
        seconds = RETRY_AFTER_MAX_S;
    return (int64_t)seconds * 1000;
}

static void read_wait(struct head_reader *r, struct bytes value)
{
    int64_t wait_ms = read_retry_after(value);
    if (wait_ms > r->head.retry_after_ms)
        r->head.retry_after_ms = wait_ms;
}

static void read_field(struct head_reader *r, struct bytes line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon)
        return;
    struct bytes name = bytes_of(line.ptr, (size_t)(colon - line.ptr));
    struct bytes value = trim(bytes_of(colon + 1, line.len - name.len - 1));
    bool is_own = r->retry_header && bytes_eq_nocase(name, bytes_of_str(r->retry_header));
    if (bytes_eq_nocase(name, BYTES_LIT("content-type")))
        read_type(r, value);
    else if (is_own || bytes_eq_nocase(name, BYTES_LIT("retry-after")))
        read_wait(r, value);
}

bool head_reader_line(struct head_reader *r, struct bytes line)
{
    if (r->is_complete)
        return false;
    line = trim(line);
    if (line.len == 0) {
        r->is_complete = r->head.status >= 200;
        return r->is_complete;
    }
    if (bytes_starts_with(line, BYTES_LIT("HTTP/")))
        read_status(r, line);
    else
        read_field(r, line);
    return false;
}

bool head_is_clean(const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 && *c != '\t')
            return false;
    }
    return true;
}
