/* What a worker has in hand, as gauges: sessions by state, and every bound of its own beside
 * its use (deploy/BOUNDS.md). Read when they are asked for. Loop thread. */
#pragma once

#include "worker.h"

/* Those of sessions and deliveries too. */
void worker_metrics_register(struct worker *w);
/* Before `w` is freed: a scrape reads it. */
void worker_metrics_unregister(struct worker *w);
