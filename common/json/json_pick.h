/* A few strings out of JSON text, without building a document.
 *
 * For the text of which few members decide and of which there are many: a refresh, a piece of
 * an answer. The text is judged as json_parse judges it with JSON_PEER. Whatever is not plain
 * (an escape in a name or in a wanted string, a name that occurs twice, a wanted member that is
 * neither string nor null) is left to json_parse. Any thread. */
#pragma once

#include "base/bytes.h"

enum { JSON_PICKS_MAX = 16, JSON_PICK_DEPTH_MAX = 3, JSON_PICK_NESTING_MAX = 1024 };

struct json_pick {
    /* Path to the object in which it is: NULL for the root, "a", "a.b", or with the first item
     * of an array "a[0].b". At most JSON_PICK_DEPTH_MAX names. */
    const char *object;
    const char *key;     /* name of the string */
    struct bytes string; /* out: view into the text; ptr is NULL when it is not there or null */
};

/* Whether the text is an object as plain as that; else nothing in `picks` counts. */
bool json_pick(struct bytes text, struct json_pick *picks, size_t count);
/* The same of text that is nested too deeply for json_parse, within JSON_PICK_NESTING_MAX. */
bool json_pick_deep(struct bytes text, struct json_pick *picks, size_t count);
