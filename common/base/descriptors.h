/* How many files and sockets this process may have open. Any thread. */
#pragma once

#include <stdint.h>

/* What a program of ours needs beside one for each connection: log, Kafka, store, timers. */
#define DESCRIPTORS_SPARE 64

/* Raises the limit to what the administrator allows; returns it. The soft limit of 1,024 that
 * most systems start programs with is for select(), which none of ours calls. */
uint64_t descriptors_raise(void);
