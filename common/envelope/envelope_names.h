/* Words of the record that both directions use; private to this directory. */
#pragma once

#include "envelope/envelope.h"

enum { ENVELOPE_VERSION = 1 };

/* Index is the enum's value; NULL ends. */
extern const char *const envelope_platforms[];
extern const char *const envelope_chat_types[];
extern const char *const envelope_scopes[];
extern const char *const envelope_reply_modes[];
