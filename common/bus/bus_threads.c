#include "bus/bus_conf.h"

#include <errno.h>
#include <signal.h>

void bus_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    BRG_CHECK(err == 0);
}

/* librdkafka makes its threads by C11's functions, which ThreadSanitizer does not know: a
 * thread made so crashes it, and locks taken so are no order to it. In such a build these stand
 * in for the C library's, whose C11 types are its POSIX ones. */
#if defined(__SANITIZE_THREAD__)

#include <threads.h>

/* What the library itself reads, writes and frees is ordered by its atomics, which an
 * uninstrumented library does not show. Our callbacks stay checked. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librdkafka.so\n";
}

#define AS_MUTEX(m) ((pthread_mutex_t *)(void *)(m))
#define AS_COND(c) ((pthread_cond_t *)(void *)(c))
_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is a pthread_cond_t");

struct start {
    thrd_start_t run;
    void *arg;
};

static void *trampoline(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    return (void *)(intptr_t)start.run(start.arg);
}

static int c11_of(int err)
{
    return err == 0 ? thrd_success : err == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
    struct start *start = BRG_NEW(struct start);
    *start = (struct start){run, arg};
    return c11_of(pthread_create(thread, NULL, trampoline, start));
}

int thrd_join(thrd_t thread, int *result)
{
    void *value = NULL;
    int err = pthread_join(thread, &value);
    if (result)
        *result = (int)(intptr_t)value;
    return c11_of(err);
}

int thrd_detach(thrd_t thread)
{
    return c11_of(pthread_detach(thread));
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    int err = pthread_mutex_init(AS_MUTEX(mutex), &attr);
    pthread_mutexattr_destroy(&attr);
    return c11_of(err);
}

int mtx_lock(mtx_t *mutex)
{
    return c11_of(pthread_mutex_lock(AS_MUTEX(mutex)));
}

int mtx_trylock(mtx_t *mutex)
{
    int err = pthread_mutex_trylock(AS_MUTEX(mutex));
    return err == EBUSY ? thrd_busy : c11_of(err);
}

int mtx_unlock(mtx_t *mutex)
{
    return c11_of(pthread_mutex_unlock(AS_MUTEX(mutex)));
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy(AS_MUTEX(mutex));
}

int cnd_init(cnd_t *cond)
{
    return c11_of(pthread_cond_init(AS_COND(cond), NULL));
}

int cnd_signal(cnd_t *cond)
{
    return c11_of(pthread_cond_signal(AS_COND(cond)));
}

int cnd_broadcast(cnd_t *cond)
{
    return c11_of(pthread_cond_broadcast(AS_COND(cond)));
}

int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    return c11_of(pthread_cond_wait(AS_COND(cond), AS_MUTEX(mutex)));
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    return c11_of(pthread_cond_timedwait(AS_COND(cond), AS_MUTEX(mutex), until));
}

void cnd_destroy(cnd_t *cond)
{
    pthread_cond_destroy(AS_COND(cond));
}

#endif
