/* What the simulated LLM does with one question: the answer, a pure function of the question,
 * and the failures that the question asks for.
 *
 * A question may hold one block of directives, "{tokens=40 rate=10 fail=500x2}"; the last one
 * counts: tokens=N   length of the answer in tokens (24)      size=N    … in bytes instead
 *   rate=N     tokens a second (40)                     delay=MS  before the first token
 *   fail=SxN   the first N calls get status S (N: 1)    hang=N    silence after N tokens
 *   cut=N      connection cut after N tokens            junk=N    a line that is no JSON, then
 * the end error=N    an error object in mid-stream            done=0    no [DONE] at the end
 *   usage=1    a usage-only chunk at the end            think=1   reasoning comes first
 *   json=1     a plain JSON answer     vary=1    every call of a question gets another answer
 */
#pragma once

#include "base/buf.h"
#include "crypto/crypto.h"

#define LLM_ANSWER_MAX_BYTES (1u << 20)

struct llm_script {
    uint64_t tokens, size, rate, delay_ms;
    uint64_t fail_status, fail_times;
    uint64_t hang, cut, junk, error; /* 0: never */
    bool done, usage, think, json, vary;
    uint64_t nth; /* with `vary`: how many calls of this question came before */
};

/* Directives without braces. The first that is none, or has a wrong value, is returned; the
 * others count. */
struct bytes llm_script_read(struct bytes directives, struct llm_script *script);
/* `defaults` is what a question without directives gets; braces may hold anything. */
void llm_script_of(struct bytes question, const struct llm_script *defaults,
                   struct llm_script *out);
extern const struct llm_script llm_script_defaults;

/* The whole answer; `ends` gets the offset behind each token (free), `*count` how many. */
void llm_answer(struct crypto *c, struct bytes question, const struct llm_script *script,
                struct buf *out, size_t **ends, size_t *count);
