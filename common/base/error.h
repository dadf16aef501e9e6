/* The one error type of the project.
 *
 * A code answers the only question a caller has: try again later, give this input up, or stop
 * the process. The text is for a person: what is wrong, where, what to do; never a secret or
 * payload. Broken invariants end the process through BRG_CHECK, which stays on in release
 * builds. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum brg_err {
    BRG_OK = 0,
    BRG_RETRY,  /* the world is at fault: the same call may succeed later */
    BRG_REJECT, /* this input is at fault: it will never succeed */
    BRG_STOP,   /* the process cannot go on (configuration, fatal library state) */
};

#define BRG_ERROR_TEXT_BYTES 256

/* Filled by functions whose caller shows the reason to a person; NULL is allowed there. */
struct brg_error {
    enum brg_err code;
    char text[BRG_ERROR_TEXT_BYTES];
};

/* Exit codes of every program (design: BSD sysexits). */
enum brg_exit {
    BRG_EXIT_DONE = 0,
    BRG_EXIT_USAGE = 64,
    BRG_EXIT_BROKEN = 70,
    BRG_EXIT_AGAIN = 75,
    BRG_EXIT_CONFIG = 78,
};

#define BRG_MUST_CHECK __attribute__((warn_unused_result))
#define BRG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Sets code and text when `error` is not NULL; returns `code`, so that a failure is one line.
 */
enum brg_err brg_fail(struct brg_error *error, enum brg_err code, const char *fmt, ...)
    BRG_PRINTF(3, 4);

_Noreturn void brg_broken(const char *file, int line, const char *what);
#define BRG_CHECK(cond) ((cond) ? (void)0 : brg_broken(__FILE__, __LINE__, #cond))

/* Allocation that cannot fail: sizes here never come from a peer. */
void *brg_calloc(size_t count, size_t size);
void *brg_realloc(void *ptr, size_t size);
char *brg_strdup(const char *text);
#define BRG_NEW(type) ((type *)brg_calloc(1, sizeof(type)))
