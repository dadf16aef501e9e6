/* An OpenAI-compatible server on loopback for tests and first steps: POST /v1/chat/completions
 * streams a deterministic answer (llm_script.h); GET /calls[?question=TEXT] lists what arrived.
 */
#pragma once

int llm_main(int argc, char **argv);
