#include "support_peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { TEST_MS = 20000, PEER_S = 5 };

struct watchdog {
    struct loop *loop;
    struct wheel_timer timer;
    bool is_over;
};

static void on_watchdog(struct wheel_timer *timer, void *arg)
{
    struct watchdog *dog = arg;
    (void)timer;
    dog->is_over = true;
    loop_stop(dog->loop);
}

static void run_watched(struct loop *loop)
{
    struct watchdog dog = {.loop = loop};
    wheel_timer_init(&dog.timer, on_watchdog, &dog);
    loop_timer_set(loop, &dog.timer, TEST_MS);
    loop_run(loop);
    loop_timer_cancel(loop, &dog.timer);
    BRG_CHECK(!dog.is_over);
}

struct peer {
    struct loop *loop;
    struct loop_wake *wake;
    void (*run)(void *arg);
    void *arg;
};

static void on_peer_done(void *arg)
{
    loop_stop(arg);
}

static void *peer_thread(void *arg)
{
    struct peer *peer = arg;
    peer->run(peer->arg);
    loop_wake_send(peer->wake);
    return NULL;
}

void peer_run(struct loop *loop, void (*peer)(void *arg), void *arg)
{
    pthread_t thread;
    struct peer p = {.loop = loop, .run = peer, .arg = arg};
    p.wake = loop_wake_new(loop, on_peer_done, loop);
    BRG_CHECK(pthread_create(&thread, NULL, peer_thread, &p) == 0);
    run_watched(loop);
    BRG_CHECK(pthread_join(thread, NULL) == 0);
    loop_wake_free(p.wake);
}

struct condition {
    struct loop *loop;
    bool (*is_done)(void *arg);
    void *arg;
    struct wheel_timer tick; /* conditions may become true without a turn of their own */
};

static bool check_condition(void *arg)
{
    struct condition *c = arg;
    if (c->is_done(c->arg))
        loop_stop(c->loop);
    return false;
}

static void on_tick(struct wheel_timer *timer, void *arg)
{
    struct condition *c = arg;
    loop_timer_set(c->loop, timer, 10);
}

void loop_until(struct loop *loop, bool (*is_done)(void *arg), void *arg)
{
    struct condition c = {.loop = loop, .is_done = is_done, .arg = arg};
    struct loop_turn *turn = loop_turn_new(loop, check_condition, &c);
    wheel_timer_init(&c.tick, on_tick, &c);
    loop_timer_set(loop, &c.tick, 10);
    run_watched(loop);
    loop_timer_cancel(loop, &c.tick);
    loop_turn_free(turn);
}

static void set_patience(int fd)
{
    struct timeval patience = {.tv_sec = PEER_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int peer_connect(unsigned port)
{
    struct sockaddr_in to = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BRG_CHECK(fd >= 0);
    set_patience(fd);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

int peer_listen(unsigned *port, int backlog)
{
    struct sockaddr_in at = loopback(0);
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BRG_CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    BRG_CHECK(listen(fd, backlog) == 0);
    BRG_CHECK(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    set_patience(fd);
    *port = ntohs(at.sin_port);
    return fd;
}

int peer_accept(int listener)
{
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0)
        set_patience(fd);
    return fd;
}

bool peer_send(int fd, struct bytes data)
{
    while (data.len > 0) {
        ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data = bytes_of(data.ptr + n, data.len - (size_t)n);
    }
    return true;
}

/* 1: got bytes, 0: closed or broken, -1: time was up. */
static int read_some(int fd, struct buf *in)
{
    char chunk[65536];
    ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
    if (n > 0)
        buf_append(in, bytes_of(chunk, (size_t)n));
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -1 : 0;
    return n > 0 ? 1 : 0;
}

bool peer_read_until(int fd, struct buf *in, const char *needle)
{
    int got = 1;
    while (got > 0 && !has_text(in, needle))
        got = read_some(fd, in);
    return got >= 0;
}

bool peer_read_all(int fd, struct buf *in)
{
    int got = 1;
    while (got > 0)
        got = read_some(fd, in);
    return got == 0;
}

bool has_text(const struct buf *in, const char *text)
{
    return in->len > 0 && memmem(in->ptr, in->len, text, strlen(text)) != NULL;
}

size_t count_text(const struct buf *in, const char *text)
{
    size_t count = 0;
    size_t at = 0;
    while (at < in->len) {
        const char *hit = memmem(in->ptr + at, in->len - at, text, strlen(text));
        if (!hit)
            break;
        count++;
        at = (size_t)(hit - in->ptr) + 1;
    }
    return count;
}
