/* The head of an answer, read from libcurl's header lines. */
#pragma once

#include "fetch/fetch.h"

enum { FETCH_TYPE_BYTES = 128 };

struct head_reader {
    struct fetch_head head; /* content_type points into `type` */
    char type[FETCH_TYPE_BYTES];
    const char *retry_header; /* besides Retry-After; NULL: none */
    bool is_complete;
};

void head_reader_init(struct head_reader *r, const char *retry_header);
/* One line with or without its CRLF. True when it completes the head of the final answer (not
 * a 1xx one); lines after that are trailers and ignored. */
bool head_reader_line(struct head_reader *r, struct bytes line);
/* May it stand in the head of a request: no control characters. */
bool head_is_clean(const char *text);
