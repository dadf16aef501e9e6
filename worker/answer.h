/* The growing text of one stream, and how much of it may be shown.
 *
 * Text comes in any split, also inside characters, and is kept whole; the platform takes only a
 * prefix. While the answer grows, room is left below the platform's limit for what may have to
 * be said at its end (a notice, an apology), so that the end never shows less of the text than
 * before. Owner: a session. */
#pragma once

#include "base/buf.h"

#define ANSWER_MAX_BYTES (1u << 20) /* more is not collected: the run is ended */

struct answer {
    struct buf text;
    size_t limit_bytes;   /* the platform's */
    size_t reserve_bytes; /* of it, for what is said at the end */
};

/* `tail_max_bytes`: the longest text that answer_compose will be given to add. */
void answer_init(struct answer *a, size_t limit_bytes, size_t tail_max_bytes);
void answer_free(struct answer *a);
void answer_clear(struct answer *a); /* for another attempt */

/* False: over ANSWER_MAX_BYTES, nothing was added. */
bool answer_append(struct answer *a, struct bytes text) BRG_MUST_CHECK;
bool answer_replace(struct answer *a, struct bytes text) BRG_MUST_CHECK;

/* What a growing answer shows: complete characters within the limit less the reserve. */
struct bytes answer_visible(const struct answer *a);

/* Appends to `out` the final text: what fits, an open <think> closed, then, when `tail` is not
 * empty, a blank line and `tail` (the tail alone when there is no text). Never over the limit,
 * and never less of the text than answer_visible. */
void answer_compose(const struct answer *a, struct bytes tail, struct buf *out);
