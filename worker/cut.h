/* Cutting Markdown where it may be cut: never inside a character, a table's row, the line that
 * opens or closes a code block, or a <think> tag. What a cut leaves open (a code block, a
 * thought) is closed behind it and opened again before the rest, as is a table's head.
 *
 * Knows what matters for that and nothing else of Markdown: fences of up to CUT_FENCE_MAX
 * characters, lines that begin with '|', and the tags, which count outside code only. A line
 * that may not be cut is cut all the same where it alone is more than half of what fits.
 * Pure functions over UTF-8. */
#pragma once

#include "base/buf.h"

enum {
    CUT_FENCE_MAX = 32,
    CUT_CLOSING_MAX = CUT_FENCE_MAX + 16, /* bytes that cut_close adds at most */
    CUT_TABLE_HEAD_MAX = 1024,            /* a longer one is not repeated */
};

/* Length of what may be shown of a text that goes on: at most `max_bytes`, and never less than
 * for any beginning of the same text. */
size_t cut_growing(struct bytes text, size_t max_bytes);

/* Where to cut a text that does not fit into `max_bytes` (CUT_CLOSING_MAX included): at the end
 * of a line if one is near, and not before `least`, a result of cut_growing. */
size_t cut_at(struct bytes text, size_t least, size_t max_bytes);

/* Appends what closes the blocks that are open at `at`. */
void cut_close(struct bytes text, size_t at, struct buf *out);
/* Appends what has to stand before text[at...] for it to mean the same alone. */
void cut_reopen(struct bytes text, size_t at, struct buf *out);
