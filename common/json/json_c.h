/* json-c beside json.h: both have a json_type and a json_bool, so the library's go by other
 * names here. Included by the files of this directory only, before anything else. */
#pragma once

#define json_type json_c_type
#define json_bool json_c_bool
#include <json-c/json.h>
#undef json_bool
#undef json_type

/* An exponent of ours, behind integers that json-c would clamp. */
#define JSON_WIDE_MARK "e-00"
