/* The growing text of one stream, and how much of it may be shown.
 *
 * Text comes in any split, also inside characters, and is kept whole; the platform takes only a
 * prefix. While the answer grows, room is left below the platform's limit for what may have to
 * be said at its end (a notice, an apology), so that the end never shows less of the text than
 * before. Where a text is cut, and what a cut leaves open, is cut.h's. Owner: a session. */
#pragma once

#include "base/buf.h"

struct answer {
    struct buf text;
    bool is_cut;          /* there was more than is collected */
    size_t limit_bytes;   /* the platform's */
    size_t reserve_bytes; /* of it, for what is said at the end */
};

/* `max_bytes`: what is collected; `tail_max_bytes`: the longest text that answer_compose will
 * be given to add. */
void answer_init(struct answer *a, size_t max_bytes, size_t limit_bytes, size_t tail_max_bytes);
void answer_free(struct answer *a);
void answer_clear(struct answer *a); /* for another attempt */

/* False: more than is collected; what fits was added, and nothing is from now on. */
bool answer_append(struct answer *a, struct bytes text) BRG_MUST_CHECK;
bool answer_replace(struct answer *a, struct bytes text) BRG_MUST_CHECK;

/* Nothing in it answers: no text, white space and thoughts only. */
bool answer_is_blank(const struct answer *a);
/* What a growing answer shows. */
struct bytes answer_visible(const struct answer *a);
bool answer_has_rest(const struct answer *a); /* more was collected than can be shown */

/* Appends to `out` the final text. With a `tail` the text is not whole: what is visible,
 * closed, a blank line and the tail, or the tail alone. Without, all of the text, or, when it
 * does not fit or is cut, as much as fits, closed, and `over`. Never over the limit, and never
 * less of the text than answer_visible. Returns how much of the text is in it. */
size_t answer_compose(const struct answer *a, struct bytes tail, struct bytes over,
                      struct buf *out);
/* Appends the text from `from` on, to be read alone, likewise within the limit. */
void answer_compose_rest(const struct answer *a, size_t from, struct bytes over,
                         struct buf *out);
