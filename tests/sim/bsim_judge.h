/* What one question's chat must look like to its user; for `bosshi chat`, which does not know
 * the answer. */
#pragma once

#include "bsim_platform.h"

enum { BSIM_JUDGED_MAX = 64 };

struct bsim_judge {
    const struct bsim_settings *settings;
    const struct bsim_message *messages[BSIM_JUDGED_MAX]; /* of the bot */
    size_t count;
};

/* Takes note of a message of the bot, new or with one more edit. False with a reason when it
 * - is another message though the first one has room for more: a second answer, not its rest;
 * - shows less than before, or other words than before, except in place of its very first text
 *   (a placeholder) and for white space and the fence of a code block at the end. */
bool bsim_judge_note(struct bsim_judge *j, const struct bsim_message *m, char reason[160]);

/* The part of the text that later ones have to begin with. */
struct bytes bsim_settled(struct bytes text);
