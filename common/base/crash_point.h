/* Places at which a test may end the process as a power failure would: no handler runs, nothing
 * is flushed or closed. One stands after every step that leaves a mark outside the process.
 *
 * Only in builds with BOTBRIDGE_CRASH_POINTS, which are never released; elsewhere the calls
 * compile to nothing. There the environment BOTBRIDGE_CRASH_AT=step[/item][:nth][~ms] chooses
 * one place and its nth pass (1), and how long other threads go on before the end (0):
 * meanwhile what they were given arrives, and nobody hears of it. tests/fault/README.md has the
 * table. Any thread. */
#pragma once

#ifdef BOTBRIDGE_CRASH_POINTS

/* `item` tells the uses of one step apart. */
void crash_point_of(const char *step, const char *item);
void crash_point(const char *step);

#else

static inline void crash_point_of(const char *step, const char *item)
{
    (void)step;
    (void)item;
}

static inline void crash_point(const char *step)
{
    (void)step;
}

#endif
