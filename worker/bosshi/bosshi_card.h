/* What is written into a chat of BOSSHI: cards of one markdown module, plain texts, and a long
 * text cut into several of either.
 *
 * A limit counts characters or bytes. Parts are cut where cut.h may cut, and what a cut closes
 * and opens again is within the limit. The pieces of a text between these additions are the
 * text. Pure functions over UTF-8. */
#pragma once

#include "config/config.h"

struct bosshi_limit {
    size_t count;
    enum bosshi_unit unit;
};

/* How much of a limit `text` takes. */
size_t bosshi_count(struct bytes text, enum bosshi_unit unit);

/* Bytes of the longest prefix of `text` within the limit. */
size_t bosshi_fit(struct bytes text, struct bosshi_limit limit);

/* Length of what a card shows of a growing text: never less than for any beginning of the same
 * text, and never more than the first part of any text that begins so. */
size_t bosshi_growing(struct bytes text, struct bosshi_limit limit);

/* Appends the next part of `text` and returns where the one after it begins, text.len after the
 * last. `from` is such a place, or 0; the part that begins at 0 has at least `least` bytes of
 * the text, a result of bosshi_growing. */
size_t bosshi_part(struct bytes text, size_t from, size_t least, struct bosshi_limit limit,
                   struct buf *out);

/* Append the member `content` of a message, a JSON object. */
void bosshi_write_card(struct buf *out, struct bytes header, struct bytes markdown);
void bosshi_write_text(struct buf *out, struct bytes text);
