/* What one question's chat must look like to its user; for `bosshi chat`, which does not know
 * the answer. */
#pragma once

#include "bosshi_platform.h"

enum { BOSSHI_JUDGED_MAX = 64 };

struct bosshi_judge {
    const struct bosshi_settings *settings;
    const struct bosshi_message *messages[BOSSHI_JUDGED_MAX]; /* of the bot */
    size_t count;
};

/* Takes note of a message of the bot, new or with one more edit. False with a reason when it
 * - is another message though the first one has room for more: a second answer, not its rest;
 * - shows less than before, or other words than before, except in place of its very first text
 *   (a placeholder) and for white space and the fence of a code block at the end. */
bool bosshi_judge_note(struct bosshi_judge *j, const struct bosshi_message *m,
                       char reason[160]);

/* The part of the text that later ones have to begin with. */
struct bytes bosshi_settled(struct bytes text);
