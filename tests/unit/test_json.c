#include "base/random.h"
#include "base/utf8.h"
#include "json/json.h"
#include "json/json_utf8.h"
#include "json/json_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define REPLACEMENT "\xEF\xBF\xBD"

static struct json *parse(const char *text, enum json_mode mode)
{
    return json_parse(bytes_of_str(text), mode, NULL);
}

static void assert_refused(const char *text, enum json_mode mode, const char *reason)
{
    struct brg_error error = {0};
    assert_null(json_parse(bytes_of_str(text), mode, &error));
    assert_int_equal(error.code, BRG_REJECT);
    if (!strstr(error.text, reason))
        fail_msg("'%s' is not in '%s'", reason, error.text);
}

static void assert_bytes(struct bytes got, const char *expected)
{
    if (!bytes_eq_str(got, expected))
        fail_msg("'" BYTES_FMT "' instead of '%s'", BYTES_ARG(got), expected);
}

static void getters_never_convert(void **state)
{
    (void)state;
    struct json *j = parse("{\"s\":\"x\",\"i\":7,\"d\":1.5,\"b\":true,\"n\":null,"
                           "\"a\":[1,\"2\",{\"k\":\"v\"}],\"o\":{},\"digits\":\"42\"}",
                           JSON_PEER);
    assert_non_null(j);
    assert_bytes(json_get_string(j, "s"), "x");
    assert_bytes(json_get_string(j, "i"), "");
    assert_bytes(json_get_string(j, "missing"), "");
    assert_bytes(json_get_string(json_get(j, "s"), "s"), "");
    assert_int_equal(json_get_int(j, "i", -1), 7);
    assert_int_equal(json_get_int(j, "digits", -1), -1);
    assert_int_equal(json_get_int(j, "d", -1), -1);
    assert_true(json_bool(json_get(j, "b"), false));
    assert_true(json_bool(json_get(j, "i"), true));
    assert_int_equal(json_length(json_get(j, "a")), 3);
    assert_int_equal(json_length(json_get(j, "o")), 0);
    assert_null(json_item(json_get(j, "a"), 3));
    assert_int_equal(json_type(json_get(j, "n")), JSON_NULL);
    assert_int_equal(json_type(NULL), JSON_NULL);
    assert_int_equal(json_type(json_get(j, "a")), JSON_ARRAY);
    assert_int_equal(json_type(json_get(j, "o")), JSON_OBJECT);
    json_free(j);
    json_free(NULL);
}

static void pointers_of_rfc_6901(void **state)
{
    (void)state;
    struct json *j =
        parse("{\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"a/b\":1,\"m~n\":2,"
              "\"\":3,\"0\":4}",
              JSON_PEER);
    assert_bytes(json_string(json_at(j, "/choices/0/delta/content")), "hi");
    assert_int_equal(json_int(json_at(j, "/a~1b"), 0), 1);
    assert_int_equal(json_int(json_at(j, "/m~0n"), 0), 2);
    assert_int_equal(json_int(json_at(j, "/"), 0), 3);
    assert_int_equal(json_int(json_at(j, "/0"), 0), 4);
    assert_ptr_equal(json_at(j, ""), j);
    assert_null(json_at(j, "/choices/1"));
    assert_null(json_at(j, "/choices/00"));
    assert_null(json_at(j, "/choices/-1"));
    assert_null(json_at(j, "/choices/0/delta/content/x"));
    assert_null(json_at(j, "/m~2n"));
    assert_null(json_at(j, "/m~"));
    assert_null(json_at(j, "choices"));
    assert_null(json_at(NULL, "/x"));
    json_free(j);
}

static void both_modes_refuse(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        " ",
        "{} x",
        "{}{}",
        "1 2",
        "{}\n]",
        "nul",
        "null",
        "'a'",
        "True",
        "{\"a\"",
        "[1,]",
        "01",
        "\"a",
        "-",
        "{\"a\":1,}",
        "]",
        "\"\\x\"",
        "[1 2]",
        "+1",
        ".5",
        "\xEF\xBB\xBF{}",
        "[1.]",
        "[1.e5]",
        "[1e]",
        "[1e+]",
        "[-]",
        "[00]",
        "[-01]",
        "NaN",
        "[NaN]",
        "[-Infinity]",
        "{'a':1}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{,}",
        "[,1]",
        "[1}",
        "{\"a\":1]",
        "{1:2}",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "\"\\",
        "{\"a\":1 \"b\":2}",
        "truefalse",
        "[true1]",
        "[1]2",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_refused(wrong[i], JSON_PEER, "byte ");
        assert_refused(wrong[i], JSON_CONFIG, "line ");
    }
    assert_null(json_parse(BYTES_LIT("{}\0x"), JSON_PEER, NULL));
    assert_null(json_parse(BYTES_LIT("{}\0"), JSON_PEER, NULL));
    assert_null(json_parse(BYTES_LIT("{\0}"), JSON_PEER, NULL));
}

static void white_space_and_bare_values_are_taken(void **state)
{
    (void)state;
    static const char *const right[] = {" {} \r\n\t", "[]",
                                        "1",          "12.5",
                                        "true ",      "\"x\"\n",
                                        "-0",         "1E+5",
                                        "[ ]",        "{ }",
                                        "0.0e-1",     "[\"\\u00E9\\/\\b\\f\\r\\t\"]",
                                        "[1e400]",    "[123456789012345678901234567890]"};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        for (int mode = JSON_PEER; mode <= JSON_CONFIG; mode++) {
            struct json *j = parse(right[i], (enum json_mode)mode);
            assert_non_null(j);
            json_free(j);
        }
    }
}

static void raw_control_characters_in_strings(void **state)
{
    (void)state;
    for (int c = 0; c < 0x20; c++) {
        char text[] = "{\"a?b\":\"x?y\\\"?\"}";
        text[3] = text[9] = text[13] = (char)c;
        struct bytes whole = bytes_of(text, sizeof text - 1);
        struct json *j = json_parse(whole, JSON_PEER, NULL);
        assert_non_null(j);
        char expected[] = "x?y\"?";
        expected[1] = expected[4] = (char)c;
        if (c != 0) {
            char key[] = "a?b";
            key[1] = (char)c;
            struct bytes got = json_get_string(j, key);
            assert_true(bytes_eq(got, bytes_of(expected, 5)));
        }
        json_free(j);
        assert_null(json_parse(whole, JSON_STRICT, NULL));
        assert_null(json_parse(whole, JSON_CONFIG, NULL));
    }
    struct json *j = json_parse(BYTES_LIT("[\"a\0b\"]"), JSON_PEER, NULL);
    assert_true(bytes_eq(json_string(json_item(j, 0)), BYTES_LIT("a\0b")));
    json_free(j);
    assert_refused("{\"a\":\"b\nc\" x}", JSON_PEER, "byte");
    assert_refused("{\"a\":\"b\n", JSON_PEER, "byte");
}

static void peers_text_is_utf8(void **state)
{
    (void)state;
    assert_refused("{\"a\":\"\xC0\xAF\"}", JSON_PEER, "byte 6: not UTF-8");
    assert_refused("{\"a\":\"\xED\xA0\x80\"}", JSON_PEER, "not UTF-8");
    assert_refused("{\"a\":\"\xE4\xB8\"}", JSON_PEER, "not UTF-8");
    assert_refused("{\"\xFF\":1}", JSON_STRICT, "not UTF-8");
    assert_refused("{\n\"\xFF\":1}", JSON_CONFIG, "line 2, column 2: not UTF-8");
}

static void configuration_takes_comments_and_tells_places(void **state)
{
    (void)state;
    struct json *j = parse("// head\n{ /* a\n * b */ \"url\": \"http://x/*y*/\", // tail \"x\n"
                           "\"n\": 1 /**/ }\n// end",
                           JSON_CONFIG);
    assert_non_null(j);
    assert_bytes(json_get_string(j, "url"), "http://x/*y*/");
    assert_int_equal(json_get_int(j, "n", 0), 1);
    json_free(j);
    assert_null(parse("{} // x", JSON_PEER));
    assert_refused("{\n  \"a\": 1,\n  b: 2\n}", JSON_CONFIG, "line 3, column 3");
    assert_refused("{ /* \n\n */ x }", JSON_CONFIG, "line 3, column 5");
    assert_refused("{\n /* never ends", JSON_CONFIG, "line 2, column 2: no comment");
    assert_refused("{ / }", JSON_CONFIG, "line 1, column 3");
    assert_refused("{\n 'a': 1}", JSON_CONFIG, "line 2, column 2: member name");
    assert_refused("{\"a\": \"tab\there\"}", JSON_CONFIG, "line 1, column 11: raw control");
    assert_refused("{} /* */ x", JSON_CONFIG, "line 1, column 10");
    assert_refused("/*", JSON_CONFIG, "line 1, column 1");
    assert_refused("/", JSON_CONFIG, "line 1, column 1");
}

static void errors_do_not_quote_the_text(void **state)
{
    (void)state;
    struct brg_error error = {0};
    assert_null(json_parse(BYTES_LIT("{\"password\":SECRET}"), JSON_CONFIG, &error));
    assert_null(strstr(error.text, "SECRET"));
    assert_null(strstr(error.text, "password"));
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    enum { DEEP = 20000 };
    char *text = brg_calloc(1, DEEP + 1);
    memset(text, '[', DEEP);
    assert_refused(text, JSON_PEER, "nested too deeply");
    assert_refused(text, JSON_RECORD, "nested too deeply");
    assert_refused(text, JSON_CONFIG, "nested too deeply");
    free(text);
    const int limits[][2] = {{JSON_PEER, JSON_DEPTH_MAX}, {JSON_RECORD, JSON_RECORD_DEPTH_MAX}};
    for (size_t i = 0; i < 2; i++) {
        for (int depth = limits[i][1]; depth <= limits[i][1] + 1; depth++) {
            char nested[128] = {0};
            memset(nested, '[', (size_t)depth);
            nested[depth] = '1';
            memset(nested + depth + 1, ']', (size_t)depth);
            struct json *j = parse(nested, (enum json_mode)limits[i][0]);
            assert_true((j != NULL) == (depth == limits[i][1]));
            json_free(j);
        }
    }
}

static void values_of_callbacks_are_counted(void **state)
{
    (void)state;
    char *list = brg_calloc(2 * JSON_CALLBACK_VALUES + 2, 1);
    for (int values = JSON_CALLBACK_VALUES - 1; values <= JSON_CALLBACK_VALUES + 1; values++) {
        list[0] = '['; /* itself a value */
        for (int i = 1; i < values; i++)
            memcpy(list + 2 * i - 1, "0,", 2);
        memcpy(list + 2 * values - 2, "]", 2);
        struct json *j = parse(list, JSON_CALLBACK);
        assert_true((j != NULL) == (values <= JSON_CALLBACK_VALUES));
        json_free(j);
        j = parse(list, JSON_PEER);
        assert_non_null(j);
        json_free(j);
    }
    assert_refused(list, JSON_CALLBACK, "too many values");
    free(list);
}

static void values_are_written_back(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"z\":1,\"a\":[true,false,null,-7,1.10,1E5],\"u\":\"\\u0000\\n\\\"\\\\/ 中😀\"}",
        "18446744073709551615",
        "-9223372036854775808",
        "[18446744073709551616,-9223372036854775809,{\"a\":123456789012345678901234567890}]",
        "[\"123456789012345678901234567890\",\"\\\"-99999999999999999999\",0]",
        "99999999999999999999999e5",
        "99999999999999999999.5",
        "[]",
        "{}",
        "\"\"",
    };
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct json *j = parse(same[i], JSON_PEER);
        buf_reset(&out);
        json_write_value(&out, j);
        assert_bytes(buf_bytes(&out), same[i]);
        json_free(j);
    }
    struct json *wide = parse("{\"w\":18446744073709551616,\"s\":\"a\\u0000\"}", JSON_PEER);
    assert_int_equal(json_type(json_get(wide, "w")), JSON_DOUBLE);
    assert_int_equal(json_int(json_get(wide, "w"), -1), -1);
    json_free(wide);
    /* A lone surrogate is no character; json-c makes U+FFFD of it. */
    struct json *j = parse("[\"\\ud800\"]", JSON_PEER);
    buf_reset(&out);
    json_write_value(&out, j);
    assert_bytes(buf_bytes(&out), "[\"" REPLACEMENT "\"]");
    json_free(j);
    buf_free(&out);
}

static void writer_places_commas_and_keys(void **state)
{
    (void)state;
    struct buf out;
    struct json_writer w;
    buf_init(&out, 4096);
    json_begin(&w, &out);
    json_open(&w, NULL, '{');
    json_str(&w, "s", BYTES_LIT("a\"b"));
    json_open(&w, "list", '[');
    json_i64(&w, NULL, INT64_MIN);
    json_boolean(&w, NULL, true);
    json_open(&w, NULL, '{');
    json_close(&w, '}');
    json_nul(&w, NULL);
    json_close(&w, ']');
    json_raw(&w, "raw", BYTES_LIT("[1]"));
    json_boolean(&w, "f", false);
    json_close(&w, '}');
    assert_bytes(buf_bytes(&out),
                 "{\"s\":\"a\\\"b\",\"list\":[-9223372036854775808,true,{},null],"
                 "\"raw\":[1],\"f\":false}");
    buf_free(&out);
}

static void assert_escaped(struct bytes text, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    json_escape(&out, text);
    assert_bytes(buf_bytes(&out), expected);
    buf_free(&out);
}

static void escapes_every_byte(void **state)
{
    (void)state;
    static const char *const named[0x20] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    for (int c = 0; c < 256; c++) {
        /* At each place of a word, so that every path of the escaper meets it. */
        for (size_t place = 0; place < 24; place++) {
            char text[24], expected[40] = {0}, escape[8];
            memset(text, 'x', sizeof text);
            text[place] = (char)c;
            if (c == '"' || c == '\\')
                snprintf(escape, sizeof escape, "\\%c", c);
            else if (c < 0x20 && named[c])
                snprintf(escape, sizeof escape, "%s", named[c]);
            else if (c < 0x20)
                snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
            else if (c >= 0x80)
                snprintf(escape, sizeof escape, "%s", REPLACEMENT);
            else
                snprintf(escape, sizeof escape, "%c", c);
            snprintf(expected, sizeof expected, "%.*s%s%.*s", (int)place, text, escape,
                     (int)(23 - place), text + place + 1);
            assert_escaped(bytes_of(text, sizeof text), expected);
        }
    }
}

static void replaces_malformed_utf8(void **state)
{
    (void)state;
    assert_escaped(BYTES_LIT("a\xE4\xB8"), "a" REPLACEMENT);
    assert_escaped(BYTES_LIT("\xE4\xB8z"), REPLACEMENT "z");
    assert_escaped(BYTES_LIT("\xC0\xAF"), REPLACEMENT REPLACEMENT);
    assert_escaped(BYTES_LIT("\xE0\x80\xAF"), REPLACEMENT REPLACEMENT REPLACEMENT);
    assert_escaped(BYTES_LIT("\xED\xA0\x80"), REPLACEMENT REPLACEMENT REPLACEMENT);
    assert_escaped(BYTES_LIT("\xF0\x9F\x98"), REPLACEMENT);
    assert_escaped(BYTES_LIT("\xF4\x90\x80\x80"),
                   REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT);
    assert_escaped(BYTES_LIT("\xF1\x80\x80\xE1\x80\xC2\x62\x80"),
                   REPLACEMENT REPLACEMENT REPLACEMENT "b" REPLACEMENT);
    assert_escaped(BYTES_LIT("\xE4\xB8\xAD\x7F\xF0\x9F\x98\x80/"), "中\x7F😀/");
    assert_escaped(BYTES_LIT(""), "");
}

static void escape_stops_exactly_at_the_maximum(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10);
    json_escape(&out, BYTES_LIT("中文a\"b"));
    assert_bytes(buf_bytes(&out), "中文a\\\"b");
    assert_false(out.overflowed);
    buf_free(&out);
    buf_init(&out, 9);
    json_escape(&out, BYTES_LIT("中文a\"b"));
    assert_true(out.overflowed);
    assert_true(out.len <= 9);
    buf_free(&out);
}

static size_t random_text(char *text, size_t max, bool may_break)
{
    static const char *const pieces[] = {
        "a", "plain ascii text", "中", "文字", "é", "😀", "\n", "\"", "\\", "한", "ก", "\x01"};
    size_t want = (size_t)random_below(max - 20), len = 0;
    while (len < want) {
        const char *piece = pieces[random_below(sizeof pieces / sizeof pieces[0])];
        memcpy(text + len, piece, strlen(piece));
        len += strlen(piece);
    }
    for (size_t broken = may_break ? (size_t)random_below(3) : 0; len > 0 && broken > 0;
         broken--)
        text[random_below(len)] = (char)random_below(256);
    return len;
}

static void random_texts_survive(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 16);
    for (int round = 0; round < 20000; round++) {
        char text[400];
        struct bytes t = bytes_of(text, random_text(text, sizeof text, true));
        size_t prefix = json_utf8_prefix(t);
        assert_int_equal(prefix == t.len, utf8_is_valid(t));
        assert_true(utf8_is_valid(bytes_of(text, prefix)));
        for (size_t more = 1; more <= 4 && prefix + more <= t.len; more++)
            assert_false(utf8_is_valid(bytes_of(text, prefix + more)));

        buf_reset(&out);
        struct json_writer w;
        json_begin(&w, &out);
        json_open(&w, NULL, '[');
        json_str(&w, NULL, t);
        json_close(&w, ']');
        struct json *j = json_parse(buf_bytes(&out), JSON_STRICT, NULL);
        assert_non_null(j);
        struct bytes back = json_string(json_item(j, 0));
        assert_true(prefix < t.len || bytes_eq(back, t));
        assert_true(back.len >= prefix && memcmp(back.ptr, text, prefix) == 0);
        json_free(j);
    }
    buf_free(&out);
}

/* The plain way: a character is the shortest valid piece; a malformed one is as much as could
 * still begin a character, at least a byte. */
static void reference_escape(struct buf *out, struct bytes text)
{
    for (size_t at = 0; at < text.len;) {
        const char *p = text.ptr + at;
        size_t len = 1, left = text.len - at;
        while (len <= 4 && len <= left && !utf8_is_valid(bytes_of(p, len)))
            len++;
        if (len <= 4 && len <= left) {
            unsigned char c = (unsigned char)*p;
            static const char *const named[0x20] = {
                ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
            if (c < 0x20 && named[c])
                buf_append_str(out, named[c]);
            else if (c < 0x20)
                buf_printf(out, "\\u%04x", c);
            else if (c == '"' || c == '\\')
                buf_printf(out, "\\%c", c);
            else
                buf_append(out, bytes_of(p, len));
            at += len;
            continue;
        }
        size_t begun = 1;
        for (size_t n = 2; n <= 3 && n <= left; n++) {
            bool could_go_on = false;
            for (int next = 0x80; next <= 0xBF && !could_go_on; next++) {
                char longer[4] = {p[0], p[1], n > 2 ? p[2] : (char)next, (char)next};
                could_go_on = utf8_is_valid(bytes_of(longer, n + 1)) ||
                              (n == 2 && utf8_is_valid(bytes_of(longer, 4)));
            }
            if (!could_go_on)
                break;
            begun = n;
        }
        buf_append_str(out, REPLACEMENT);
        at += begun;
    }
}

static void escaper_agrees_with_the_plain_way(void **state)
{
    (void)state;
    struct buf fast, plain;
    buf_init(&fast, 1 << 16);
    buf_init(&plain, 1 << 16);
    for (int round = 0; round < 6000; round++) {
        static char text[3000];
        static const char odd[] =
            "\x80\xBF\xC0\xC2\xE0\xE1\xED\xF0\xF1\xF4\xF5\xFF\x9F\xA0\x90\"\n";
        size_t max = round % 50 == 0 ? sizeof text : 120;
        size_t len = random_text(text, max, true);
        /* Runs of bytes that are malformed in every combination. */
        for (uint64_t runs = random_below(4); len > 0 && runs > 0; runs--) {
            size_t from = (size_t)random_below(len);
            for (size_t i = from; i < len && i < from + 6; i++)
                text[i] = odd[random_below(sizeof odd - 1)];
        }
        buf_reset(&fast);
        buf_reset(&plain);
        json_escape(&fast, bytes_of(text, len));
        reference_escape(&plain, bytes_of(text, len));
        assert_true(bytes_eq(buf_bytes(&fast), buf_bytes(&plain)));
        /* The exact maximum is enough, one byte less is not. */
        struct buf tight;
        buf_init(&tight, plain.len);
        json_escape(&tight, bytes_of(text, len));
        assert_false(tight.overflowed);
        assert_true(bytes_eq(buf_bytes(&tight), buf_bytes(&plain)));
        buf_free(&tight);
        if (plain.len == 0)
            continue;
        buf_init(&tight, plain.len - 1);
        json_escape(&tight, bytes_of(text, len));
        assert_true(tight.overflowed);
        buf_free(&tight);
    }
    buf_free(&plain);
    buf_free(&fast);
}

static void random_garbage_is_survived(void **state)
{
    (void)state;
    static const char seedling[] = "{\"a\":[1,-2.5e3,\"x\\u4e2d\\n\",{\"b\":null}],\"c\":true}";
    for (int round = 0; round < 20000; round++) {
        char text[sizeof seedling];
        memcpy(text, seedling, sizeof text);
        for (uint64_t hits = 1 + random_below(4); hits > 0; hits--)
            text[random_below(sizeof text - 1)] = (char)random_below(256);
        size_t len = (size_t)random_below(sizeof text);
        for (int mode = JSON_PEER; mode <= JSON_CONFIG; mode++)
            json_free(json_parse(bytes_of(text, len), (enum json_mode)mode, NULL));
    }
}

int main(void)
{
    const char *given = getenv("BOTBRIDGE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("BOTBRIDGE_TEST_SEED=%llu\n", (unsigned long long)seed);
    random_seed(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(getters_never_convert),
        cmocka_unit_test(pointers_of_rfc_6901),
        cmocka_unit_test(both_modes_refuse),
        cmocka_unit_test(white_space_and_bare_values_are_taken),
        cmocka_unit_test(raw_control_characters_in_strings),
        cmocka_unit_test(peers_text_is_utf8),
        cmocka_unit_test(configuration_takes_comments_and_tells_places),
        cmocka_unit_test(errors_do_not_quote_the_text),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(values_of_callbacks_are_counted),
        cmocka_unit_test(values_are_written_back),
        cmocka_unit_test(writer_places_commas_and_keys),
        cmocka_unit_test(escapes_every_byte),
        cmocka_unit_test(replaces_malformed_utf8),
        cmocka_unit_test(escape_stops_exactly_at_the_maximum),
        cmocka_unit_test(random_texts_survive),
        cmocka_unit_test(escaper_agrees_with_the_plain_way),
        cmocka_unit_test(random_garbage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
