/* Order in lanes, and capacity over lanes. */
#include "lanes.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PLACES = 64 };

static struct lane_place places[PLACES];
static size_t turns[PLACES * 4];
static size_t turn_count;
static struct lanes lanes;
static bool leaves_at_once;

static void note_turn(struct lane_place *place, void *arg)
{
    (void)arg;
    turns[turn_count++] = (size_t)(place - places);
    if (leaves_at_once)
        lanes_leave(&lanes, place);
}

static int set_up(void **state)
{
    (void)state;
    turn_count = 0;
    leaves_at_once = false;
    for (size_t i = 0; i < PLACES; i++)
        lane_place_init(&places[i]);
    lanes_init(&lanes, PLACES, note_turn, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++)
        lanes_leave(&lanes, &places[i]);
    lanes_free(&lanes);
    return 0;
}

static void enter_of(size_t i, const char *lane, const char *group)
{
    lanes_enter(&lanes, &places[i], bytes_of_str(lane), bytes_of_str(group));
}

static void enter(size_t i, const char *lane)
{
    enter_of(i, lane, "bot");
}

static void expect_turns(const char *expected)
{
    char seen[PLACES * 8] = "";
    for (size_t i = 0; i < turn_count; i++)
        snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s%zu", i > 0 ? " " : "",
                 turns[i]);
    assert_string_equal(seen, expected);
}

static void test_order_within_a_lane(void **state)
{
    (void)state;
    enter(0, "a");
    enter(1, "a");
    enter(2, "b");
    enter(3, "a");
    expect_turns("0 2");
    assert_int_equal(lanes_ahead(&places[3]), 2);
    assert_int_equal(lanes_ahead(&places[2]), 0);
    lanes_leave(&lanes, &places[0]);
    assert_int_equal(lanes_ahead(&places[3]), 1);
    assert_int_equal(lanes_ahead(&places[0]), 0);
    expect_turns("0 2 1");
    lanes_leave(&lanes, &places[2]);
    enter(4, "b");
    expect_turns("0 2 1 4");
    lanes_leave(&lanes, &places[1]);
    expect_turns("0 2 1 4 3");
}

/* Who leaves from the middle (its partition went) gives nobody a turn. */
static void test_leaving_from_the_middle(void **state)
{
    (void)state;
    enter(0, "a");
    enter(1, "a");
    enter(2, "a");
    lanes_leave(&lanes, &places[1]);
    expect_turns("0");
    lanes_leave(&lanes, &places[0]);
    expect_turns("0 2");
    lanes_leave(&lanes, &places[2]);
    lanes_leave(&lanes, &places[2]);
    assert_int_equal(lanes.by_name.count, 0);
    assert_int_equal(lanes.places, 0);
}

/* A lane with many questions delays no other lane more than one turn. */
static void test_capacity_is_shared_by_lanes(void **state)
{
    (void)state;
    lanes_set_capacity(&lanes, 2);
    for (size_t i = 0; i < 4; i++)
        enter(i, "flood");
    enter(4, "b");
    enter(5, "c");
    enter(6, "d");
    expect_turns("0 4");
    lanes_leave(&lanes, &places[0]);
    expect_turns("0 4 5");
    lanes_leave(&lanes, &places[4]);
    expect_turns("0 4 5 6");
    lanes_leave(&lanes, &places[5]);
    expect_turns("0 4 5 6 1");
    lanes_set_capacity(&lanes, 0);
    lanes_leave(&lanes, &places[6]);
    expect_turns("0 4 5 6 1");
}

/* Nor does a bot with many lanes delay another bot's more than one turn. */
static void test_capacity_is_shared_by_groups(void **state)
{
    (void)state;
    static const char *const flood[] = {"f0", "f1", "f2", "f3", "f4"};
    lanes_set_capacity(&lanes, 1);
    for (size_t i = 0; i < 5; i++)
        enter_of(i, flood[i], "flood");
    enter_of(5, "b", "calm");
    enter_of(6, "c", "calm");
    expect_turns("0");
    for (size_t i = 0; i < 5; i++)
        lanes_leave(&lanes, &places[turns[turn_count - 1]]);
    expect_turns("0 1 5 2 6 3");
}

static size_t turns_of(size_t first, size_t count)
{
    size_t held = 0;
    for (size_t i = first; i < first + count; i++)
        held += lanes_has_turn(&places[i]) ? 1 : 0;
    return held;
}

static void enter_lanes_of(size_t first, size_t count, const char *group)
{
    for (size_t i = first; i < first + count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s/%zu", group, i);
        enter_of(i, name, group);
    }
}

static void leave_all(void)
{
    for (size_t i = 0; i < PLACES; i++)
        lanes_leave(&lanes, &places[i]);
    turn_count = 0;
}

/* Where several groups come a flood of one gets most turns, never the last, and who comes then
 * has its turn at once. */
static void test_flood_leaves_turns(void **state)
{
    (void)state;
    static const struct {
        size_t capacity, flood, second;
    } cases[] = {{1, 1, 0}, {2, 1, 1},  {3, 2, 1},   {4, 3, 1},
                 {5, 4, 1}, {10, 8, 1}, {20, 16, 3}, {30, 24, 5}};
    lanes_set_shared(&lanes, true);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        lanes_set_capacity(&lanes, cases[i].capacity);
        enter_lanes_of(0, 32, "flood");
        assert_int_equal(turns_of(0, 32), cases[i].flood);
        enter_lanes_of(32, 16, "second");
        assert_int_equal(turns_of(32, 16), cases[i].second);
        enter_lanes_of(48, 16, "third");
        assert_int_equal(turns_of(48, 16), cases[i].capacity > 5 ? 1 : 0);
        leave_all();
    }
    lanes_set_shared(&lanes, false);
    lanes_set_capacity(&lanes, 20);
    enter_lanes_of(0, 32, "flood");
    assert_int_equal(turns_of(0, 32), 20);
}

/* A flood gives back what it has too much of: turns that end go to the others first. */
static void test_turns_even_out(void **state)
{
    (void)state;
    lanes_set_shared(&lanes, true);
    lanes_set_capacity(&lanes, 10);
    enter_lanes_of(0, 32, "flood");
    enter_lanes_of(32, 32, "second");
    assert_int_equal(turns_of(0, 32), 8);
    assert_int_equal(turns_of(32, 32), 1);
    for (size_t i = 0; i < 7; i++)
        lanes_leave(&lanes, &places[i]);
    assert_in_range(turns_of(0, 32), 4, 5);
    assert_in_range(turns_of(32, 32), 4, 5);
    assert_true(lanes.turns.served < 10);
}

/* Thousands that end as soon as they begin: no recursion, nobody twice, nobody forgotten. */
static void test_turns_that_end_at_once(void **state)
{
    (void)state;
    lanes_set_capacity(&lanes, 0);
    for (size_t i = 0; i < PLACES; i++)
        enter(i, "a");
    leaves_at_once = true;
    lanes_set_capacity(&lanes, 1);
    assert_int_equal(turn_count, PLACES);
    for (size_t i = 0; i < PLACES; i++)
        assert_int_equal(turns[i], i);
    assert_int_equal(lanes.turns.served, 0);
}

/* --- against the rule itself --- */

enum { LANES = 5, ROUNDS = 20000, ACTIVE = 3 };
static size_t lane_of[PLACES], entered[PLACES];

/* PLACES: nobody is in it. */
static size_t earliest_in(size_t lane)
{
    size_t head = PLACES;
    for (size_t k = 0; k < PLACES; k++) {
        bool is_in = places[k].lane && lane_of[k] == lane;
        if (is_in && (head == PLACES || entered[k] < entered[head]))
            head = k;
    }
    return head;
}

/* Of each lane nobody but the earliest is active, and as many lanes as may be are. */
static void expect_rule(void)
{
    size_t heads[LANES], used = 0, active = 0;
    for (size_t l = 0; l < LANES; l++) {
        heads[l] = earliest_in(l);
        used += heads[l] < PLACES ? 1 : 0;
    }
    for (size_t k = 0; k < PLACES; k++) {
        active += lanes_has_turn(&places[k]) ? 1 : 0;
        assert_true(!lanes_has_turn(&places[k]) || heads[lane_of[k]] == k);
    }
    assert_int_equal(active, used < ACTIVE ? used : ACTIVE);
    assert_int_equal(active, lanes.turns.served);
}

static void test_random_against_the_rule(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    size_t next = 1;
    uint64_t seed = (uint64_t)clock_wall_ms();
    print_message("seed %" PRIu64 "\n", seed);
    random_seed(seed);
    lanes_set_capacity(&lanes, ACTIVE);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t i = random_below(PLACES);
        turn_count = 0;
        if (places[i].lane) {
            lanes_leave(&lanes, &places[i]);
        } else {
            lane_of[i] = random_below(LANES);
            entered[i] = next++;
            enter_of(i, names[lane_of[i]], lane_of[i] < 2 ? "bot" : "other");
        }
        expect_rule();
    }
}

#define LANE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(test_order_within_a_lane),
        LANE_TEST(test_leaving_from_the_middle),
        LANE_TEST(test_capacity_is_shared_by_lanes),
        LANE_TEST(test_turns_that_end_at_once),
        LANE_TEST(test_random_against_the_rule),
        LANE_TEST(test_capacity_is_shared_by_groups),
        LANE_TEST(test_flood_leaves_turns),
        LANE_TEST(test_turns_even_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
