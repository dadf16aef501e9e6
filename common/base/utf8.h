/* UTF-8: validity and cutting at limits that platforms state in bytes. */
#pragma once

#include "base/bytes.h"

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_is_valid(struct bytes text);

/* Largest length <= max_bytes that does not split a character of valid UTF-8 `text`. */
size_t utf8_cut(struct bytes text, size_t max_bytes);

/* Length of the prefix that ends on a complete character: text.len less an unfinished tail of
 * at most 3 bytes. For streams whose chunks may split characters. */
size_t utf8_complete(struct bytes text);
