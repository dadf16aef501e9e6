/* The grammar of JSON (RFC 8259), decided here because json-c's versions decide it differently;
 * json-c then only builds the tree. Private to this directory. */
#pragma once

#include "base/bytes.h"

/* A problem and the offset it was found at. */
struct json_fault {
    const char *what;
    size_t at;
};

enum { JSON_CHECK_DEPTH_MAX = 1024 };

struct json_check {
    unsigned depth_max; /* containers within each other, at most JSON_CHECK_DEPTH_MAX */
    size_t values_max;  /* 0: any number */
    bool takes_comments;
    size_t
        control;   /* out: offset of the first raw control character in a string, or SIZE_MAX */
    bool has_nul;  /* out: one of them is NUL */
    bool has_wide; /* out: there is an integer that 64 bits do not hold */
};

/* Whether all of `text` is one value in UTF-8; else fills `fault`. */
bool json_check(struct bytes text, struct json_check *check, struct json_fault *fault);

/* Whether the number is an integer that neither int64_t nor uint64_t holds. */
bool json_is_wide(struct bytes number);
/* Length of the number that `text` begins with. */
size_t json_number_length(struct bytes text);

/* End of the comment that starts at `at`, or 0 when there is none or it does not end. */
size_t json_comment_end(struct bytes text, size_t at);
