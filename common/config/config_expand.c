/* ${NAME}, ${file:PATH} and $${ in the strings of the configuration. */
#include "base/utf8.h"
#include "config/config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool is_env_name(struct bytes name)
{
    if (name.len == 0 || isdigit((unsigned char)name.ptr[0]))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && name.ptr[i] != '_')
            return false;
    return true;
}

static bool append_env(struct reader *r, const char *path, struct bytes name, struct buf *out)
{
    if (!is_env_name(name)) {
        config_mistake(r, path,
                       "${…} takes the name of an environment variable or file:PATH; "
                       "write $${ for the characters themselves");
        return false;
    }
    char *text = bytes_dup(name);
    const char *value = getenv(text);
    if (value)
        buf_append_str(out, value);
    else
        config_mistake(r, path, "environment variable %.128s is not set", text);
    free(text);
    return value != NULL;
}

int config_read_file(const char *name, struct buf *out)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno;
    int error = 0;
    for (;;) {
        char chunk[4096];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            error = errno;
        if (n <= 0)
            break;
        buf_append(out, bytes_of(chunk, (size_t)n));
        if (out->overflowed) {
            error = EFBIG;
            break;
        }
    }
    close(fd);
    return error;
}

static bool append_file(struct reader *r, const char *path, struct bytes name, struct buf *out)
{
    char *file = bytes_dup(name);
    size_t before = out->len;
    int error = name.len > 0 ? config_read_file(file, out) : ENOENT;
    if (error)
        config_mistake(r, path, "cannot read file %.256s: %s", file, strerror(error));
    /* Editors and `echo` end a file with a line break that is no part of the secret. */
    while (out->len > before &&
           (out->ptr[out->len - 1] == '\n' || out->ptr[out->len - 1] == '\r'))
        out->len--;
    free(file);
    return error == 0;
}

/* One "${…}" at the start of `rest`; returns its length, or 0 with the mistake reported. */
static size_t expand_one(struct reader *r, const char *path, struct bytes rest, struct buf *out)
{
    const char *end = memchr(rest.ptr, '}', rest.len);
    if (!end) {
        config_mistake(r, path, "${ without }; write $${ for the characters themselves");
        return 0;
    }
    struct bytes inner = {rest.ptr + 2, (size_t)(end - rest.ptr) - 2};
    struct bytes prefix = BYTES_LIT("file:");
    bool is_done;
    if (bytes_starts_with(inner, prefix)) {
        struct bytes file = {inner.ptr + prefix.len, inner.len - prefix.len};
        is_done = append_file(r, path, file, out);
    } else {
        is_done = append_env(r, path, inner, out);
    }
    return is_done ? inner.len + 3 : 0;
}

static bool expand_into(struct reader *r, const char *path, struct bytes source,
                        struct buf *out)
{
    size_t i = 0;
    while (i < source.len) {
        struct bytes rest = {source.ptr + i, source.len - i};
        if (bytes_starts_with(rest, BYTES_LIT("$${"))) {
            buf_append_str(out, "${");
            i += 3;
        } else if (bytes_starts_with(rest, BYTES_LIT("${"))) {
            size_t len = expand_one(r, path, rest, out);
            if (len == 0)
                return false;
            i += len;
        } else {
            buf_append_char(out, source.ptr[i++]);
        }
    }
    return true;
}

static bool is_usable(struct reader *r, const char *path, const struct buf *text)
{
    if (text->overflowed)
        config_mistake(r, path, "longer than %d bytes", CONFIG_VALUE_MAX_BYTES);
    else if (text->len > 0 && memchr(text->ptr, 0, text->len))
        config_mistake(r, path, "holds a NUL character");
    else if (!utf8_is_valid(buf_bytes(text)))
        config_mistake(r, path, "is not valid UTF-8");
    else
        return true;
    return false;
}

char *config_expand(struct reader *r, const char *path, struct bytes source)
{
    struct buf text;
    buf_init(&text, CONFIG_VALUE_MAX_BYTES);
    char *result = NULL;
    if (expand_into(r, path, source, &text) && is_usable(r, path, &text))
        result = bytes_dup(buf_bytes(&text));
    if (text.ptr)
        crypto_wipe(text.ptr, text.cap);
    buf_free(&text);
    return result;
}

char *config_string(struct reader *r, const char *path, const struct json *j)
{
    if (json_type(j) == JSON_STRING)
        return config_expand(r, path, json_string(j));
    config_mistake(r, path, "string expected, %s given", config_type_name(j));
    return NULL;
}
