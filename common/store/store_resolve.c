#include "store/store_resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* Shared by the loop and the helper thread; the last one to let go frees it. */
struct resolve {
    pthread_mutex_t lock;
    struct loop_wake *wake; /* NULL once the loop has lost interest */
    unsigned holders;
    bool is_done;
    struct resolve_result result;
    char *host;
};

static void let_go(struct resolve *r)
{
    pthread_mutex_lock(&r->lock);
    bool is_last = --r->holders == 0;
    pthread_mutex_unlock(&r->lock);
    if (!is_last)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r->host);
    free(r);
}

static void look_up(const char *host, struct resolve_result *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0) {
        out->failure = gai_strerror(rc);
        return;
    }
    for (struct addrinfo *a = found; a && out->count < RESOLVE_ADDRESSES; a = a->ai_next) {
        char *address = out->address[out->count];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, address, RESOLVE_ADDRESS_BYTES, NULL, 0,
                        NI_NUMERICHOST) == 0)
            out->count++;
    }
    freeaddrinfo(found);
    if (out->count == 0)
        out->failure = "name has no address";
}

static void *run(void *arg)
{
    struct resolve *r = arg;
    struct resolve_result result = {0};
    look_up(r->host, &result);
    pthread_mutex_lock(&r->lock);
    r->result = result;
    r->is_done = true;
    if (r->wake)
        loop_wake_send(r->wake);
    pthread_mutex_unlock(&r->lock);
    let_go(r);
    return NULL;
}

/* The thread takes no signals: they belong to the loop. */
static bool start_thread(struct resolve *r)
{
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, NULL, run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_detach(thread);
    return rc == 0;
}

struct resolve *resolve_start(const char *host, struct loop_wake *wake)
{
    struct resolve *r = BRG_NEW(struct resolve);
    BRG_CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
    r->wake = wake;
    r->holders = 2;
    r->host = brg_strdup(host);
    if (start_thread(r))
        return r;
    r->holders = 1; /* no thread began to hold it */
    let_go(r);
    return NULL;
}

bool resolve_take(struct resolve *r, struct resolve_result *out)
{
    pthread_mutex_lock(&r->lock);
    bool is_done = r->is_done;
    if (is_done)
        *out = r->result;
    pthread_mutex_unlock(&r->lock);
    return is_done;
}

void resolve_free(struct resolve *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->wake = NULL;
    pthread_mutex_unlock(&r->lock);
    let_go(r);
}
