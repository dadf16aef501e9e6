/* UTF-8 at the speed the hottest path needs (every refresh escapes up to 20 KB): 16 bytes at a
 * time, whatever the mixture of scripts. RFC 3629 as in base/utf8.h. */
#pragma once

#include "base/bytes.h"

/* Length of the longest prefix that is valid UTF-8. */
size_t json_utf8_prefix(struct bytes text);

/* The character at the start of `text` (not empty): its length, or 0 when malformed; then
 * `*bad` is the length of the sequence that one U+FFFD stands for (Unicode 15, section 3.9). */
size_t json_utf8_char(struct bytes text, size_t *bad);
