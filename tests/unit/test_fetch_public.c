/* Which addresses are public, and that no connection is made to another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fetch/fetch_address.h"
#include "support_fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool is_public(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
    bool is_v6 = strchr(text, ':') != NULL;
    address.ss_family = is_v6 ? AF_INET6 : AF_INET;
    void *to = is_v6 ? (void *)&in6->sin6_addr : (void *)&in->sin_addr;
    assert_int_equal(inet_pton(address.ss_family, text, to), 1);
    return address_is_public((const struct sockaddr *)&address);
}

static const char *const public_addresses[] = {
    "1.1.1.1",         "8.8.8.8",         "9.255.255.255",   "11.0.0.0",
    "100.63.255.255",  "100.128.0.0",     "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0",     "172.15.255.255",  "172.32.0.0",
    "191.255.255.255", "192.0.1.0",       "192.0.3.0",       "192.167.255.255",
    "192.169.0.0",     "198.17.255.255",  "198.20.0.0",      "223.255.255.255",
    "2400:3200::1",    "2001:4860::8888", "::ffff:8.8.8.8",  "64:ff9b::808:808",
    "2002:808:808::1",
};

static const char *const other_addresses[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "2001:1ff::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "100::1",
    "4000::1",
};

static void tells_public_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(public_addresses) / sizeof(public_addresses[0]); i++)
        if (!is_public(public_addresses[i]))
            fail_msg("%s is public", public_addresses[i]);
    for (size_t i = 0; i < sizeof(other_addresses) / sizeof(other_addresses[0]); i++)
        if (is_public(other_addresses[i]))
            fail_msg("%s is not public", other_addresses[i]);
    const struct sockaddr other = {.sa_family = AF_UNIX};
    assert_false(address_is_public(&other));
}

static void run(struct fetch_fixture *f, struct transfer *t, const char *url, bool public_only)
{
    struct fetch_request request = {.url = url, .public_only = public_only};
    *t = (struct transfer){0};
    transfer_begin(t, f, &request);
    loop_until(f->loop, is_all_done, f);
}

/* A connection that others have made to the very same origin is not taken either. */
static void connects_to_public_addresses_only(void **state)
{
    struct fetch_fixture *f = *state;
    struct transfer t;
    char named[64], url[96];
    const char *port = strrchr(f->base, ':');
    (void)snprintf(named, sizeof(named), "http://localhost%s/method", port);
    (void)snprintf(url, sizeof(url), "%s/method", f->base);
    run(f, &t, url, false);
    assert_int_equal(t.result, FETCH_OK);
    transfer_end(&t);
    const char *const urls[] = {url, named};
    for (size_t i = 0; i < 2; i++) {
        run(f, &t, urls[i], true);
        assert_int_equal(t.result, FETCH_NOT_PUBLIC);
        assert_int_equal(t.heads, 0);
        assert_null(strchr(t.detail, '?'));
        transfer_end(&t);
    }
    run(f, &t, url, false); /* the handle that asked for it is used again without */
    assert_int_equal(t.result, FETCH_OK);
    transfer_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_public_addresses),
        FETCH_TEST(connects_to_public_addresses_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
