#include "keyspace.h"

#include "base/error.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct host {
    lua_State *lua;
    struct keyspace *db; /* during a run */
    int64_t now_us;
};

static const char *const key_names[] = {"m", "t", "x"};

static struct field *find(struct keyspace *db, const char *name)
{
    for (unsigned i = 0; i < db->fields; i++)
        if (strcmp(db->field[i].name, name) == 0)
            return &db->field[i];
    return NULL;
}

const char *keyspace_get(const struct keyspace *db, const char *field)
{
    for (unsigned i = 0; i < db->fields; i++)
        if (strcmp(db->field[i].name, field) == 0)
            return db->field[i].value;
    return NULL;
}

void keyspace_set(struct keyspace *db, const char *field, const char *value)
{
    struct field *f = find(db, field);
    if (!f) {
        BRG_CHECK(db->fields < FIELDS_MAX);
        f = &db->field[db->fields++];
        snprintf(f->name, sizeof(f->name), "%s", field);
    }
    BRG_CHECK(strlen(field) < FIELD_BYTES && strlen(value) < VALUE_BYTES);
    snprintf(f->value, sizeof(f->value), "%s", value);
}

/* --- commands --- */

static struct host *host_of(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, "host");
    struct host *h = lua_touserdata(lua, -1);
    lua_pop(lua, 1);
    return h;
}

/* As the server turns arguments into strings: numbers with 17 digits, nothing else. */
static const char *argument(lua_State *lua, int at)
{
    if (lua_type(lua, at) == LUA_TNUMBER) {
        char digits[VALUE_BYTES];
        snprintf(digits, sizeof(digits), "%.17g", lua_tonumber(lua, at));
        lua_pushstring(lua, digits);
        lua_replace(lua, at);
    }
    if (lua_type(lua, at) != LUA_TSTRING)
        luaL_error(lua, "argument %d is no string", at);
    return lua_tostring(lua, at);
}

static int which_key(lua_State *lua, const char *name)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(name, key_names[i]) == 0)
            return i;
    return luaL_error(lua, "unknown key %s", name);
}

static void need_hash(lua_State *lua)
{
    if (which_key(lua, argument(lua, 2)) != 0)
        luaL_error(lua, "WRONGTYPE");
}

static struct key *string_key(lua_State *lua)
{
    struct keyspace *db = host_of(lua)->db;
    int which = which_key(lua, argument(lua, 2));
    if (which == 0)
        luaL_error(lua, "WRONGTYPE");
    return which == 1 ? &db->text : &db->extras;
}

static int command_time(lua_State *lua)
{
    int64_t now_us = host_of(lua)->now_us;
    lua_createtable(lua, 2, 0);
    lua_pushfstring(lua, "%d", (int)(now_us / 1000000));
    lua_rawseti(lua, -2, 1);
    lua_pushfstring(lua, "%d", (int)(now_us % 1000000));
    lua_rawseti(lua, -2, 2);
    return 1;
}

static int command_hmget(lua_State *lua)
{
    need_hash(lua);
    struct keyspace *db = host_of(lua)->db;
    int count = lua_gettop(lua);
    lua_createtable(lua, count, 0);
    for (int i = 3; i <= count; i++) {
        const char *value = keyspace_get(db, argument(lua, i));
        if (value)
            lua_pushstring(lua, value);
        else
            lua_pushboolean(lua, 0);
        lua_rawseti(lua, -2, i - 2);
    }
    return 1;
}

static int command_hset(lua_State *lua)
{
    need_hash(lua);
    struct keyspace *db = host_of(lua)->db;
    int count = lua_gettop(lua);
    if (count < 4 || count % 2 != 0)
        luaL_error(lua, "wrong number of arguments");
    for (int i = 3; i < count; i += 2)
        keyspace_set(db, argument(lua, i), argument(lua, i + 1));
    lua_pushinteger(lua, count / 2);
    return 1;
}

static int command_hgetall(lua_State *lua)
{
    need_hash(lua);
    const struct keyspace *db = host_of(lua)->db;
    lua_createtable(lua, (int)db->fields * 2, 0);
    for (unsigned i = 0; i < db->fields; i++) {
        lua_pushstring(lua, db->field[i].name);
        lua_rawseti(lua, -2, (int)i * 2 + 1);
        lua_pushstring(lua, db->field[i].value);
        lua_rawseti(lua, -2, (int)i * 2 + 2);
    }
    return 1;
}

static void need_positive(lua_State *lua, int at)
{
    const char *digits = argument(lua, at);
    size_t len = strlen(digits);
    if (len == 0 || len > 15 || strspn(digits, "0123456789") != len || digits[0] == '0')
        luaL_error(lua, "ERR value is not an integer or out of range: %s", digits);
}

static int command_pexpire(lua_State *lua)
{
    struct keyspace *db = host_of(lua)->db;
    int which = which_key(lua, argument(lua, 2));
    need_positive(lua, 3);
    if (which == 0)
        db->has_ttl = db->fields > 0;
    else if (which == 1)
        db->text.has_ttl = db->text.is_there;
    else
        db->extras.has_ttl = db->extras.is_there;
    return 0;
}

static int command_set(lua_State *lua)
{
    struct key *key = string_key(lua);
    const char *value = argument(lua, 3);
    key->has_ttl = lua_gettop(lua) > 3;
    if (key->has_ttl) {
        if (lua_gettop(lua) != 5 || strcasecmp(argument(lua, 4), "PX") != 0)
            luaL_error(lua, "ERR syntax error");
        need_positive(lua, 5);
    }
    BRG_CHECK(strlen(value) < VALUE_BYTES);
    key->is_there = true;
    snprintf(key->value, sizeof(key->value), "%s", value);
    return 0;
}

static int command_get(lua_State *lua)
{
    const struct key *key = string_key(lua);
    if (key->is_there)
        lua_pushstring(lua, key->value);
    else
        lua_pushboolean(lua, 0);
    return 1;
}

static int command_del(lua_State *lua)
{
    struct keyspace *db = host_of(lua)->db;
    for (int i = 2; i <= lua_gettop(lua); i++) {
        int which = which_key(lua, argument(lua, i));
        if (which == 0)
            db->fields = 0;
        else
            *(which == 1 ? &db->text : &db->extras) = (struct key){0};
    }
    return 0;
}

static int redis_call(lua_State *lua)
{
    static const struct {
        const char *name;
        lua_CFunction function;
    } commands[] = {
        {"TIME", command_time},       {"HMGET", command_hmget},     {"HSET", command_hset},
        {"HGETALL", command_hgetall}, {"PEXPIRE", command_pexpire}, {"SET", command_set},
        {"GET", command_get},         {"DEL", command_del},
    };
    const char *name = argument(lua, 1);
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (strcasecmp(name, commands[i].name) == 0)
            return commands[i].function(lua);
    return luaL_error(lua, "the emulation does not know %s", name);
}

/* --- scripts --- */

static void open_library(lua_State *lua, lua_CFunction open, const char *name)
{
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 0);
}

struct host *host_new(void)
{
    struct host *h = brg_calloc(1, sizeof(*h));
    h->lua = luaL_newstate();
    BRG_CHECK(h->lua);
    open_library(h->lua, luaopen_base, "");
    open_library(h->lua, luaopen_table, LUA_TABLIBNAME);
    open_library(h->lua, luaopen_string, LUA_STRLIBNAME);
    open_library(h->lua, luaopen_math, LUA_MATHLIBNAME);
    lua_pushlightuserdata(h->lua, h);
    lua_setfield(h->lua, LUA_REGISTRYINDEX, "host");
    lua_createtable(h->lua, 0, 1);
    lua_pushcfunction(h->lua, redis_call);
    lua_setfield(h->lua, -2, "call");
    lua_setglobal(h->lua, "redis");
    return h;
}

void host_free(struct host *h)
{
    lua_close(h->lua);
    free(h);
}

int host_load(struct host *h, const char *name, const char *body)
{
    if (luaL_loadbuffer(h->lua, body, strlen(body), name) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(h->lua, -1));
        return 0;
    }
    return luaL_ref(h->lua, LUA_REGISTRYINDEX);
}

static void set_list(lua_State *lua, const char *name, const char *const *items, unsigned count)
{
    lua_createtable(lua, (int)count, 0);
    for (unsigned i = 0; i < count; i++) {
        lua_pushstring(lua, items[i]);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_setglobal(lua, name);
}

/* As the server makes a reply of a table: up to the first nil; what is no string is named as a
 * mistake, because a number would lose digits and a boolean become nothing or 1. */
static void take_answer(lua_State *lua, struct lua_answer *answer)
{
    if (!lua_istable(lua, -1)) {
        snprintf(answer->error, sizeof(answer->error), "the answer is no list");
        return;
    }
    for (unsigned i = 0; i < ANSWERS_MAX; i++) {
        lua_rawgeti(lua, -1, (int)i + 1);
        int type = lua_type(lua, -1);
        if (type == LUA_TSTRING) {
            BRG_CHECK(lua_objlen(lua, -1) < sizeof(answer->element[i]));
            snprintf(answer->element[i], sizeof(answer->element[i]), "%s",
                     lua_tostring(lua, -1));
            answer->count++;
        }
        lua_pop(lua, 1);
        if (type == LUA_TNIL)
            return;
        if (type != LUA_TSTRING) {
            snprintf(answer->error, sizeof(answer->error), "answer %u is a %s", i + 1,
                     lua_typename(lua, type));
            return;
        }
    }
}

void host_run(struct host *h, int script, struct keyspace *db, int64_t now_us,
              const char *const *args, unsigned count, struct lua_answer *answer)
{
    lua_State *lua = h->lua;
    *answer = (struct lua_answer){0};
    h->db = db;
    h->now_us = now_us;
    set_list(lua, "KEYS", key_names, 3);
    set_list(lua, "ARGV", args, count);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script);
    if (lua_pcall(lua, 0, 1, 0) != 0)
        snprintf(answer->error, sizeof(answer->error), "%s", lua_tostring(lua, -1));
    else
        take_answer(lua, answer);
    lua_pop(lua, 1);
    h->db = NULL;
}
