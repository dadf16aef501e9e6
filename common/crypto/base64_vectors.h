/* Base64 by 32-byte vectors, for processors that have them: half the time of the table, which
 * counts where every refresh encodes up to 20 KB. Any thread. */
#pragma once

#include "base/bytes.h"

enum { BASE64_READS_BACK = 4 };

/* False: base64_encode_vectors may not be called on this processor. */
bool base64_has_vectors(void);

/* Encodes a multiple of 24 bytes, perhaps none; returns how many. BASE64_READS_BACK bytes
 * before `in` are read, and must be there. `out` has room for 4 characters per 3 bytes of
 * `len`. */
size_t base64_encode_vectors(const uint8_t *in, size_t len, char *out);
