/* Faults on demand: what is played instead of, or around, the work of a call. */
#pragma once

#include "base/list.h"
#include "bsim_platform.h"

enum bsim_withhold { BSIM_NOT_WITHHELD, BSIM_CUT, BSIM_HANG };

struct bsim_fault {
    struct list node;
    enum bsim_call on; /* BSIM_NO_CALL: any */
    char *msg_type, *contains, *msg, *body;
    int64_t skip, times; /* times -1: for ever */
    int64_t delay_ms, code, status, retry_after_s, reset_s;
    enum bsim_withhold withhold;
    bool is_drop, has_body;
};

struct bsim_faults {
    struct list list;
};

void bsim_faults_init(struct bsim_faults *f);
void bsim_faults_clear(struct bsim_faults *f);
enum brg_err bsim_faults_add(struct bsim_faults *f, const struct json *members,
                             struct brg_error *error) BRG_MUST_CHECK;

/* Takes the fault that plays with this call: a copy for the caller (bsim_fault_free), or
 * NULL.
 */
struct bsim_fault *bsim_faults_take(struct bsim_faults *f, const struct bsim_request *request,
                                    struct bytes raw_body);
void bsim_fault_free(struct bsim_fault *fault);

/* Whether the fault refuses before any work. */
bool bsim_fault_refuses(const struct bsim_fault *fault);
const char *bsim_fault_name(const struct bsim_fault *fault); /* NULL: "" */
