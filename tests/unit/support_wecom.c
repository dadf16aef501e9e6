#include "support_wecom.h"

struct json *vectors_read_file(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/vectors/%s", BOTBRIDGE_SOURCE_DIR, name);
    struct buf content;
    buf_init(&content, 1 << 20);
    FILE *f = fopen(path, "rb");
    BRG_CHECK(f != NULL);
    size_t got = 0;
    do {
        char chunk[4096];
        got = fread(chunk, 1, sizeof chunk, f);
        buf_append(&content, bytes_of(chunk, got));
    } while (got > 0);
    fclose(f);
    struct json *j = json_parse(buf_bytes(&content), JSON_PEER, NULL);
    buf_free(&content);
    BRG_CHECK(j != NULL);
    return j;
}

struct json *vectors_read(void)
{
    return vectors_read_file("wecom-crypt.json");
}

struct wecom_keys keys_make(const char *token, const char *aes_key, const char *receive_id)
{
    struct wecom_keys keys = {.token_count = 1, .aes_key_count = 1};
    keys.tokens[0] = brg_strdup(token);
    keys.receive_id = brg_strdup(receive_id);
    BRG_CHECK(wecom_aes_key_decode(aes_key, keys.aes_keys[0], NULL) == BRG_OK);
    return keys;
}

/* Strings of json-c are NUL-terminated, and no key of the vectors holds a NUL. */
struct wecom_keys keys_of(const struct json *v)
{
    return keys_make(json_get_string(v, "token").ptr,
                     json_get_string(v, "encoding_aes_key").ptr,
                     json_get_string(v, "receive_id").ptr);
}

struct wecom_query query_of(const struct json *v)
{
    return (struct wecom_query){json_get_string(v, "msg_signature"),
                                json_get_string(v, "timestamp"), json_get_string(v, "nonce")};
}
