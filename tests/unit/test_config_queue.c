/* The text that tells a place in the queue, and telling it from an answer. */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool is_it(char *form, const char *text)
{
    struct config_bot bot = {.queue_text = form};
    return config_is_queue_text(&bot, bytes_of_str(text));
}

static void expect_written(char *form, size_t ahead, const char *expected)
{
    struct config_bot bot = {.queue_text = form};
    struct buf out;
    buf_init(&out, 256);
    config_write_queue_text(&bot, ahead, &out);
    if (!bytes_eq_str(buf_bytes(&out), expected))
        fail_msg("\"" BYTES_FMT "\"", BYTES_ARG(buf_bytes(&out)));
    assert_true(config_is_queue_text(&bot, buf_bytes(&out)));
    buf_free(&out);
}

static void test_written_and_known_again(void **state)
{
    (void)state;
    expect_written("前面还有 {n} 条消息", 2, "前面还有 2 条消息");
    expect_written("{n}", 12345, "12345");
    expect_written("No. {n}", 0, "No. 0");
    expect_written("{n} before", 7, "7 before");
    expect_written("please wait", 3, "please wait");
    expect_written("{n} of {n}", 3, "3 of {n}");
}

static void test_told_from_answers(void **state)
{
    (void)state;
    assert_false(is_it("", ""));
    assert_false(is_it("", "2"));
    assert_false(is_it("前面还有 {n} 条消息", ""));
    assert_false(is_it("前面还有 {n} 条消息", "前面还有 "));
    assert_false(is_it("前面还有 {n} 条消息", "前面还有  条消息"));
    assert_false(is_it("前面还有 {n} 条消息", "前面还有 两 条消息"));
    assert_false(is_it("前面还有 {n} 条消息", "前面还有 2 条消息。"));
    assert_false(is_it("前面还有 {n} 条消息", " 前面还有 2 条消息"));
    assert_false(is_it("please wait", "please wait 2"));
    assert_false(is_it("please wait", "please wai"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_and_known_again),
        cmocka_unit_test(test_told_from_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
