/* The Lua scripts as compiled in (made by embed.cmake from scripts/). Internal to the store. */
#pragma once

struct store_script {
    const char *name;
    const char *sha; /* SHA-1 of `body`, hexadecimal: what EVALSHA takes */
    const char *body;
};

extern const struct store_script store_script_claim;
extern const struct store_script store_script_close;
extern const struct store_script store_script_finish;
extern const struct store_script store_script_note;
extern const struct store_script store_script_open;
extern const struct store_script store_script_put;
extern const struct store_script store_script_release;
extern const struct store_script store_script_settle;
extern const struct store_script store_script_shown;
