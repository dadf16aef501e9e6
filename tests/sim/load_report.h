/* The table that a load run ends with. */
#pragma once

#include "load_run.h"

#include <stdio.h>

void load_report(FILE *out, const struct load_plan *plan, const struct load_result *result);
