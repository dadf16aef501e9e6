#include "base/error.h"

#include <stdarg.h>
#include <string.h>

enum brg_err brg_fail(struct brg_error *error, enum brg_err code, const char *fmt, ...)
{
    if (!error)
        return code;
    error->code = code;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(error->text, sizeof(error->text), fmt, args);
    va_end(args);
    return code;
}

void brg_broken(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "broken invariant at %s:%d: %s\n", file, line, what);
    abort();
}

void *brg_calloc(size_t count, size_t size)
{
    void *ptr = calloc(count ? count : 1, size ? size : 1);
    BRG_CHECK(ptr != NULL);
    return ptr;
}

void *brg_realloc(void *ptr, size_t size)
{
    void *grown = realloc(ptr, size ? size : 1);
    BRG_CHECK(grown != NULL);
    return grown;
}

char *brg_strdup(const char *text)
{
    char *copy = strdup(text);
    BRG_CHECK(copy != NULL);
    return copy;
}
