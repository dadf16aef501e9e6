#include "http/http_internal.h"

#include <strings.h>

struct framing {
    unsigned lengths;
    unsigned codings;
    bool is_broken;
    uint64_t length;
};

static bool is_named(const char *name, size_t len, const char *wanted)
{
    return len == strlen(wanted) && strncasecmp(name, wanted, len) == 0;
}

/* A name with blanks before its colon is no name (RFC 9112 5.1): what is behind us must not see
 * another message than what is in front of us. */
static bool has_blank(const char *name, size_t len)
{
    return len == 0 || name[len - 1] == ' ' || name[len - 1] == '\t' || name[0] == ' ' ||
           name[0] == '\t';
}

/* Blanks between colon and value, or -1 when the value does not follow its name: a folded
 * header. 0.9.75 joins the folded text to the name and not to the value ("Content-Length:", "
 * 55" becomes "Content-Length55" without value; "Content: 5", " -Length" a length of 5) and
 * moves that name elsewhere in its memory. All others are still as they came, a NUL in place of
 * the colon. */
static ptrdiff_t blanks_before(const char *value, const char *name, size_t name_len)
{
    uintptr_t from = (uintptr_t)name + name_len + 1;
    if ((uintptr_t)value < from)
        return -1;
    size_t gap = (uintptr_t)value - from;
    const char *blank = name + name_len + 1;
    for (size_t i = 0; i < gap; i++)
        if (blank[i] != ' ' && blank[i] != '\t')
            return -1;
    return (ptrdiff_t)gap;
}

static enum MHD_Result look_at(void *cls, enum MHD_ValueKind kind, const char *name,
                               size_t name_len, const char *value, size_t value_len)
{
    struct framing *framing = cls;
    (void)kind;
    if (has_blank(name, name_len))
        framing->is_broken = true;
    struct bytes text = bytes_of(value, value ? value_len : 0);
    ptrdiff_t blanks = value ? blanks_before(value, name, name_len) : 0;
    if (blanks < 0)
        framing->is_broken = true;
    bool is_length = is_named(name, name_len, MHD_HTTP_HEADER_CONTENT_LENGTH);
    bool is_coding = is_named(name, name_len, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    /* 1.0.1 makes blanks of a fold: in what says where the message ends, more than the usual
     * one may be one. */
    if ((is_length || is_coding) && blanks > 1)
        framing->is_broken = true;
    if (is_length) {
        framing->lengths++;
        if (!bytes_to_u64(text, &framing->length))
            framing->is_broken = true;
    } else if (is_coding) {
        framing->codings++;
        if (!bytes_eq_nocase(text, BYTES_LIT("chunked")))
            framing->is_broken = true;
    }
    return MHD_YES;
}

bool http_framing_read(struct http_request *req, const char *version)
{
    struct framing framing = {0};
    (void)MHD_get_connection_values_n(req->connection, MHD_HEADER_KIND, look_at, &framing);
    if (framing.is_broken || framing.lengths + framing.codings > 1)
        return false;
    /* RFC 9112 6.1: chunked from an HTTP/1.0 client is faulty framing. */
    if (framing.codings > 0 && strcmp(version, MHD_HTTP_VERSION_1_1) != 0)
        return false;
    req->content_length = framing.length;
    req->has_body = framing.codings > 0 || framing.length > 0;
    return true;
}
