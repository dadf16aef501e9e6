#include "crypto/crypto.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct crypto *crypto;

static int make(void **state)
{
    (void)state;
    crypto = crypto_new();
    return 0;
}

static int drop(void **state)
{
    (void)state;
    crypto_free(crypto);
    return 0;
}

static void assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    char text[129] = {0};
    crypto_hex(data, len, text);
    assert_string_equal(text, hex);
}

static void digests_of_parts(void **state)
{
    (void)state;
    uint8_t out[CRYPTO_SHA256_BYTES];
    const struct bytes whole[] = {BYTES_LIT("abc")};
    const struct bytes split[] = {BYTES_LIT("a"), BYTES_LIT(""), BYTES_LIT("bc")};
    for (int round = 0; round < 3; round++) {
        crypto_sha1(crypto, whole, 1, out);
        assert_hex(out, CRYPTO_SHA1_BYTES, "a9993e364706816aba3e25717850c26c9cd0d89d");
        crypto_sha1(crypto, split, 3, out);
        assert_hex(out, CRYPTO_SHA1_BYTES, "a9993e364706816aba3e25717850c26c9cd0d89d");
        crypto_sha256(crypto, split, 3, out);
        assert_hex(out, CRYPTO_SHA256_BYTES,
                   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    crypto_sha1(crypto, NULL, 0, out);
    assert_hex(out, CRYPTO_SHA1_BYTES, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

/* NIST SP 800-38A, F.2.5 and F.2.6, first two blocks. */
static void aes_cbc_known_answer(void **state)
{
    (void)state;
    static const uint8_t key[32] = {0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe,
                                    0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81,
                                    0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7,
                                    0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4};
    static const uint8_t iv[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static const uint8_t plain[32] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
                                      0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
                                      0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c,
                                      0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51};
    uint8_t data[32];
    memcpy(data, plain, sizeof data);
    for (int round = 0; round < 3; round++) {
        crypto_aes_encrypt(crypto, key, iv, data, sizeof data, data);
        assert_hex(data, sizeof data,
                   "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d");
        crypto_aes_decrypt(crypto, key, iv, data, sizeof data, data);
        assert_memory_equal(data, plain, sizeof data);
    }
}

/* The context keeps the last key: another one, another vector and another length all count. */
static void aes_keys_in_turn(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 64; round++) {
        uint8_t key[32], iv[16], data[96], other[96];
        struct crypto *fresh = crypto_new();
        size_t len = 16 * (1 + (size_t)round % 6);
        memset(key, (int)(round / 8 % 3), sizeof key);
        key[31] = (uint8_t)(round / 2 % 2);
        memset(iv, (int)round, sizeof iv);
        memset(data, 'd', sizeof data);
        crypto_aes_encrypt(crypto, key, iv, data, len, data);
        memset(other, 'd', sizeof other);
        crypto_aes_encrypt(fresh, key, iv, other, len, other);
        assert_memory_equal(data, other, sizeof data);
        crypto_aes_decrypt(crypto, key, iv, data, len, data);
        crypto_aes_decrypt(fresh, key, iv, other, len, other);
        assert_memory_equal(data, other, sizeof data);
        assert_int_equal(data[0], 'd');
        crypto_free(fresh);
    }
}

static void pkcs7_every_length_and_every_wrong_byte(void **state)
{
    (void)state;
    for (size_t block = 16; block <= 32; block += 16) {
        for (size_t pad = 1; pad <= block; pad++) {
            uint8_t data[64] = {0};
            memset(data + 64 - pad, (int)pad, pad);
            assert_int_equal(crypto_pkcs7_length(data, 64, block), pad);
            for (size_t at = 64 - pad; at < 63; at++) {
                data[at] ^= 0x40;
                assert_int_equal(crypto_pkcs7_length(data, 64, block), 0);
                data[at] ^= 0x40;
            }
            assert_int_equal(crypto_pkcs7_length(data + 1, 63, block), 0);
        }
    }
    uint8_t data[64];
    memset(data, 33, sizeof data);
    assert_int_equal(crypto_pkcs7_length(data, 64, 32), 0);
    memset(data, 17, sizeof data);
    assert_int_equal(crypto_pkcs7_length(data, 64, 16), 0);
    memset(data, 0, sizeof data);
    assert_int_equal(crypto_pkcs7_length(data, 64, 32), 0);
    memset(data, 0xFF, sizeof data);
    assert_int_equal(crypto_pkcs7_length(data, 64, 32), 0);
    assert_int_equal(crypto_pkcs7_length(data, 0, 32), 0);
    memset(data, 16, sizeof data);
    assert_int_equal(crypto_pkcs7_length(data, 16, 32), 0);
}

static void base64_known_answers(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"\xFB\xFF\xBF", "+/+/"},
        {"foobar", "Zm9vYmFy"},
    };
    struct buf out;
    buf_init(&out, 64);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        buf_reset(&out);
        crypto_base64_encode(&out, bytes_of_str(pairs[i][0]));
        assert_true(bytes_eq_str(buf_bytes(&out), pairs[i][1]));
        uint8_t back[16];
        size_t len = crypto_base64_decode(bytes_of_str(pairs[i][1]), back);
        assert_int_equal(len, strlen(pairs[i][0]));
        assert_memory_equal(back, pairs[i][0], len);
    }
    char url[8] = {0};
    assert_int_equal(crypto_base64url_encode((const uint8_t *)"\xFB\xFF\xBF\xFF", 4, url), 6);
    assert_string_equal(url, "-_-__w");
    buf_free(&out);
}

static void base64_round_trip_of_every_length(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1024);
    for (size_t len = 0; len <= 300; len++) {
        uint8_t data[300], back[302];
        crypto_random(crypto, data, len);
        buf_reset(&text);
        crypto_base64_encode(&text, bytes_of(data, len));
        assert_int_equal(text.len, CRYPTO_BASE64_BYTES(len));
        assert_int_equal(crypto_base64_decode(buf_bytes(&text), back), len);
        assert_memory_equal(data, back, len);
    }
    buf_free(&text);
}

static void base64_encode_stops_at_the_maximum(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 7);
    crypto_base64_encode(&text, BYTES_LIT("foob"));
    assert_true(text.overflowed);
    assert_int_equal(text.len, 0);
    buf_free(&text);
}

static void base64_refuses(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Z",    "Zg",   "Zg=",   "Zm9vYg=", "====", "Z===",     "=Zg=",        "Zg=a",
        "Zg =", " Zg=", "Zm9\n", "Zm9-",    "Zm9_", "Zg==Zm9v", "Zm9vZ\xC3==",
    };
    uint8_t out[16];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(crypto_base64_decode(bytes_of_str(wrong[i]), out), SIZE_MAX);
    for (int c = 0; c < 256; c++) {
        char text[4] = {'A', 'A', 'A', (char)c};
        bool is_ours = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       (c >= '0' && c <= '9') || c == '+' || c == '/';
        size_t expected = c == '=' ? 2 : is_ours ? 3 : SIZE_MAX;
        assert_true(crypto_base64_decode(bytes_of(text, 4), out) == expected);
    }
}

static void base64_ignores_spare_bits(void **state)
{
    (void)state;
    uint8_t canonical[3], other[3];
    assert_int_equal(crypto_base64_decode(BYTES_LIT("Zg=="), canonical), 1);
    assert_int_equal(crypto_base64_decode(BYTES_LIT("Zn=="), other), 1);
    assert_int_equal(canonical[0], other[0]);
}

static void random_is_not_repeated(void **state)
{
    (void)state;
    enum { DRAWS = 200 };
    static uint8_t seen[DRAWS][16];
    for (size_t i = 0; i < DRAWS; i++) {
        crypto_random(crypto, seen[i], sizeof seen[i]);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(seen[i], seen[k], sizeof seen[i]);
    }
    uint8_t large[2048] = {0};
    static const uint8_t zeros[64];
    crypto_random(crypto, large, sizeof large);
    for (size_t i = 0; i < sizeof large; i += sizeof zeros)
        assert_memory_not_equal(large + i, zeros, sizeof zeros);
}

static void equal_compares_lengths_and_bytes(void **state)
{
    (void)state;
    assert_true(crypto_equal(BYTES_LIT("abc"), BYTES_LIT("abc")));
    assert_true(crypto_equal(BYTES_LIT(""), (struct bytes){NULL, 0}));
    assert_false(crypto_equal(BYTES_LIT("abc"), BYTES_LIT("abd")));
    assert_false(crypto_equal(BYTES_LIT("abc"), BYTES_LIT("abcd")));
    assert_false(crypto_equal(BYTES_LIT("abc"), BYTES_LIT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_of_parts),
        cmocka_unit_test(aes_cbc_known_answer),
        cmocka_unit_test(aes_keys_in_turn),
        cmocka_unit_test(pkcs7_every_length_and_every_wrong_byte),
        cmocka_unit_test(base64_known_answers),
        cmocka_unit_test(base64_round_trip_of_every_length),
        cmocka_unit_test(base64_encode_stops_at_the_maximum),
        cmocka_unit_test(base64_refuses),
        cmocka_unit_test(base64_ignores_spare_bits),
        cmocka_unit_test(random_is_not_repeated),
        cmocka_unit_test(equal_compares_lengths_and_bytes),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
