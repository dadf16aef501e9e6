/* Clocks. The monotonic one is for every duration and deadline; the wall clock only for what is
 * printed or sent to others. A loop reads the monotonic clock once per turn (loop_now_ms). */
#pragma once

#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void);

#define CLOCK_RFC3339_BYTES 32
/* "2026-11-22T03:04:05.678Z" and NUL. */
void clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_BYTES]);
