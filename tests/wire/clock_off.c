/* Preloaded into redis-server: its wall clock is CLOCK_OFF_S seconds off, monotonic time is
 * not. The system is asked directly, because allocators look at the clock before libraries are
 * ready (libfaketime cannot be used with jemalloc for that reason). */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset_s(void)
{
    const char *text = getenv("CLOCK_OFF_S");
    return text ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int result = (int)syscall(SYS_clock_gettime, clock, ts);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ts->tv_sec += offset_s();
    return result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    int result = (int)syscall(SYS_gettimeofday, tv, zone);
    tv->tv_sec += offset_s();
    return result;
}

time_t time(time_t *out)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (out)
        *out = ts.tv_sec;
    return ts.tv_sec;
}
