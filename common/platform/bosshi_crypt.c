#include "platform/bosshi.h"

void bosshi_keys_derive(struct bosshi_keys *keys)
{
    struct crypto *c = crypto_new();
    for (size_t i = 0; i < keys->encrypt_key_count; i++) {
        struct bytes text = bytes_of_str(keys->encrypt_keys[i]);
        crypto_sha256(c, &text, 1, keys->aes_keys[i]);
    }
    crypto_free(c);
}
