/* Known answers of tests/vectors/wecom-crypt.json and keys for the codec's tests. */
#pragma once

#include "platform/wecom.h"

#define KEY_ONE "PeRa8Z3700HCXwwsjq9r5A43dtvvaFt16XF1SR2PknZ"
#define KEY_TWO "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

struct json *vectors_read(void); /* json_free */
/* Any JSON file of tests/vectors. */
struct json *vectors_read_file(const char *name);

/* One token and one AES key; the caller wipes them. */
struct wecom_keys keys_make(const char *token, const char *aes_key, const char *receive_id);
struct wecom_keys keys_of(const struct json *vector);
struct wecom_query query_of(const struct json *vector);
