/* Faults on demand: what is played instead of, or around, the work of a call. */
#pragma once

#include "base/list.h"
#include "bosshi_platform.h"

enum bosshi_withhold { BOSSHI_NOT_WITHHELD, BOSSHI_CUT, BOSSHI_HANG };

struct bosshi_fault {
    struct list node;
    enum bosshi_call on; /* BOSSHI_NO_CALL: any */
    char *msg_type, *contains, *msg, *body;
    int64_t skip, times; /* times -1: for ever */
    int64_t delay_ms, code, status, retry_after_s, reset_s;
    enum bosshi_withhold withhold;
    bool is_drop, has_body;
};

struct bosshi_faults {
    struct list list;
};

void bosshi_faults_init(struct bosshi_faults *f);
void bosshi_faults_clear(struct bosshi_faults *f);
enum brg_err bosshi_faults_add(struct bosshi_faults *f, const struct json *members,
                               struct brg_error *error) BRG_MUST_CHECK;

/* Takes the fault that plays with this call: a copy for the caller (bosshi_fault_free), or
 * NULL.
 */
struct bosshi_fault *bosshi_faults_take(struct bosshi_faults *f,
                                        const struct bosshi_request *request,
                                        struct bytes raw_body);
void bosshi_fault_free(struct bosshi_fault *fault);

/* Whether the fault refuses before any work. */
bool bosshi_fault_refuses(const struct bosshi_fault *fault);
const char *bosshi_fault_name(const struct bosshi_fault *fault); /* NULL: "" */
