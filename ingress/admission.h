/* How often one user may ask one bot: a token bucket each, in a bounded table.
 *
 * It knows what this process saw and no more; with N ingresses a user may have up to N times
 * the rate. Beyond its bound the user unseen for longest is forgotten, which only favours that
 * user. Loop thread only. */
#pragma once

#include "base/bytes.h"

#include <stdint.h>

struct admission;

struct admission *admission_new(size_t max_users);
void admission_free(struct admission *a);

/* Takes one of the user's `per_minute` questions, which come back evenly; all of them may be
 * asked at once. False: none is left. Nobody is limited by 0, nor who has no name. */
bool admission_take(struct admission *a, struct bytes bot, struct bytes user,
                    int64_t per_minute, int64_t now_ms);

size_t admission_users(const struct admission *a);
size_t admission_users_limit(const struct admission *a);
