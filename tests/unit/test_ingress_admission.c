/* One user's questions per minute: at the limit, one more, and after a while. */
#include "admission.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BOT BYTES_LIT("helpdesk")

static bool take(struct admission *a, const char *user, int64_t per_minute, int64_t now_ms)
{
    return admission_take(a, BOT, bytes_of_str(user), per_minute, now_ms);
}

static void test_limit_and_return(void **state)
{
    (void)state;
    struct admission *a = admission_new(10);
    for (int i = 0; i < 3; i++)
        assert_true(take(a, "u1", 3, 1000));
    assert_false(take(a, "u1", 3, 1000));
    assert_true(take(a, "u2", 3, 1000));
    assert_true(admission_take(a, BYTES_LIT("other"), BYTES_LIT("u1"), 3, 1000));
    assert_false(take(a, "u1", 3, 1000 + 19999)); /* asking in vain costs nothing */
    assert_true(take(a, "u1", 3, 1000 + 20000));
    assert_false(take(a, "u1", 3, 1000 + 20000));
    for (int i = 0; i < 3; i++) /* never more than a minute's at once */
        assert_true(take(a, "u1", 3, 900000));
    assert_false(take(a, "u1", 3, 900000));
    admission_free(a);
}

static void test_no_limit(void **state)
{
    (void)state;
    struct admission *a = admission_new(10);
    for (int i = 0; i < 1000; i++) {
        assert_true(take(a, "u1", 0, 1000));
        assert_true(take(a, "", 1, 1000)); /* nobody said who asked */
    }
    assert_int_equal(admission_users(a), 0);
    admission_free(a);
}

static void test_bound(void **state)
{
    (void)state;
    struct admission *a = admission_new(2);
    assert_true(take(a, "u1", 1, 1000));
    assert_true(take(a, "u2", 1, 1000));
    assert_false(take(a, "u1", 1, 1000));
    assert_true(take(a, "u3", 1, 1000)); /* u2 is forgotten, not u1 */
    assert_int_equal(admission_users(a), admission_users_limit(a));
    assert_false(take(a, "u1", 1, 1000));
    assert_true(take(a, "u2", 1, 1000));
    admission_free(a);
}

static void test_a_changed_rate(void **state)
{
    (void)state;
    struct admission *a = admission_new(2);
    for (int i = 0; i < 100; i++)
        assert_true(take(a, "u1", 100, 1000));
    assert_false(take(a, "u1", 1, 1000));
    assert_false(take(a, "u1", 1, 60999));
    assert_true(take(a, "u1", 1, 61000));
    assert_false(take(a, "u1", 1, 61000));
    admission_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_and_return),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_a_changed_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
