/* Base64 and hex. The library's block functions are slower, count '=' as data and accept blanks
 * (EVP_DecodeBlock), or write a NUL past the text (EVP_EncodeBlock). */
#include "crypto/base64_vectors.h"
#include "crypto/crypto.h"

#include <endian.h>
#include <pthread.h>

static const char STANDARD[64] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char URL[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Encodes len / 3 groups; returns the input consumed. */
static size_t encode_groups(const char alphabet[64], const uint8_t *in, size_t len, char *out)
{
    size_t used = 0;
    for (; len - used >= 3; used += 3, out += 4) {
        uint32_t v = (uint32_t)in[used] << 16 | (uint32_t)in[used + 1] << 8 | in[used + 2];
        out[0] = alphabet[v >> 18];
        out[1] = alphabet[v >> 12 & 63];
        out[2] = alphabet[v >> 6 & 63];
        out[3] = alphabet[v & 63];
    }
    return used;
}

/* The 1 or 2 bytes after the last group; returns the characters written (2 or 3). */
static size_t encode_rest(const char alphabet[64], const uint8_t *in, size_t len, char *out)
{
    uint32_t v = (uint32_t)in[0] << 16 | (len > 1 ? (uint32_t)in[1] << 8 : 0);
    out[0] = alphabet[v >> 18];
    out[1] = alphabet[v >> 12 & 63];
    if (len == 1)
        return 2;
    out[2] = alphabet[v >> 6 & 63];
    return 3;
}

/* Two characters for every twelve bits: three times as fast as one for six, on a text that
 * every refresh encodes. */
static char pairs[1 << 12][2];
static bool has_vectors;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        pairs[i][0] = STANDARD[i >> 6];
        pairs[i][1] = STANDARD[i & 63];
    }
    has_vectors = base64_has_vectors();
}

/* Six bytes at a time out of eight that are read; returns the input consumed. */
static size_t encode_wide(const uint8_t *in, size_t len, char *out)
{
    size_t used = 0;
    for (; len - used >= sizeof(uint64_t); used += 6, out += 8) {
        uint64_t w;
        memcpy(&w, in + used, sizeof w);
        w = be64toh(w);
        memcpy(out, pairs[w >> 52], 2);
        memcpy(out + 2, pairs[w >> 40 & 0xFFF], 2);
        memcpy(out + 4, pairs[w >> 28 & 0xFFF], 2);
        memcpy(out + 6, pairs[w >> 16 & 0xFFF], 2);
    }
    return used;
}

/* As encode_wide, as many at a time as the processor can do. */
static size_t encode_most(const uint8_t *in, size_t len, char *out)
{
    if (!has_vectors || len < sizeof(uint64_t))
        return encode_wide(in, len, out);
    size_t used = encode_wide(in, sizeof(uint64_t), out); /* what a vector reads back over */
    used += base64_encode_vectors(in + used, len - used, out + used / 3 * 4);
    return used + encode_wide(in + used, len - used, out + used / 3 * 4);
}

void crypto_base64_encode(struct buf *out, struct bytes data)
{
    size_t need = CRYPTO_BASE64_BYTES(data.len);
    char *text = buf_reserve(out, need);
    if (!text)
        return;
    BRG_CHECK(pthread_once(&tables_once, make_tables) == 0);
    const uint8_t *in = (const uint8_t *)data.ptr;
    size_t used = encode_most(in, data.len, text);
    used += encode_groups(STANDARD, in + used, data.len - used, text + used / 3 * 4);
    size_t written = used / 3 * 4;
    if (used < data.len)
        written += encode_rest(STANDARD, in + used, data.len - used, text + written);
    while (written < need)
        text[written++] = '=';
    out->len += need;
}

size_t crypto_base64url_encode(const uint8_t *data, size_t len, char *out)
{
    size_t used = encode_groups(URL, data, len, out);
    size_t written = used / 3 * 4;
    if (used < len)
        written += encode_rest(URL, data + used, len - used, out + written);
    return written;
}

enum { NOT_BASE64 = 0x80 };

#define NO NOT_BASE64
/* Value of each character from '+' to 'z'; what lies outside is no base64. */
static const uint8_t VALUES[] = {
    62, NO, NO, NO, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO, NO,
    NO, NO, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
    18, 19, 20, 21, 22, 23, 24, 25, NO, NO, NO, NO, NO, NO, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
};
#undef NO

static uint32_t value_of(char c)
{
    size_t index = (size_t)((unsigned char)c - (unsigned)'+') & 0xFF;
    return index < sizeof VALUES ? VALUES[index] : NOT_BASE64;
}

size_t crypto_base64_decode(struct bytes text, uint8_t *out)
{
    if (text.len % 4 != 0)
        return SIZE_MAX;
    size_t pad = 0;
    if (text.len > 0 && text.ptr[text.len - 1] == '=')
        pad = text.ptr[text.len - 2] == '=' ? 2 : 1;
    size_t groups = text.len / 4;
    uint32_t seen = 0;
    for (size_t i = 0; i < groups; i++) {
        const char *p = text.ptr + i * 4;
        size_t missing = i + 1 == groups ? pad : 0;
        uint32_t a = value_of(p[0]), b = value_of(p[1]);
        uint32_t c = missing > 1 ? 0 : value_of(p[2]);
        uint32_t d = missing > 0 ? 0 : value_of(p[3]);
        seen |= a | b | c | d;
        uint32_t v = a << 18 | b << 12 | c << 6 | d;
        uint8_t *o = out + i * 3;
        o[0] = (uint8_t)(v >> 16);
        o[1] = (uint8_t)(v >> 8);
        o[2] = (uint8_t)v;
    }
    return seen & NOT_BASE64 ? SIZE_MAX : groups * 3 - pad;
}

void crypto_hex(const uint8_t *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
}
