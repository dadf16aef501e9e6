#include "bus/offsets.h"

enum { WORD_BITS = 64 };

static size_t slot_of(const struct offsets *o, int64_t offset)
{
    return (size_t)(offset % o->slots);
}

static uint64_t bit_of(size_t slot)
{
    return UINT64_C(1) << (slot % WORD_BITS);
}

static bool is_set(const uint64_t *map, size_t slot)
{
    return (map[slot / WORD_BITS] & bit_of(slot)) != 0;
}

void offsets_init(struct offsets *o, int64_t start, uint32_t window)
{
    BRG_CHECK(start >= 0 && window > 0 && window <= UINT32_MAX - WORD_BITS);
    uint32_t words = (window + WORD_BITS - 1) / WORD_BITS;
    *o = (struct offsets){
        .base = start, .head = start, .window = window, .slots = words * WORD_BITS};
    o->received = brg_calloc(words, sizeof *o->received);
    o->done = brg_calloc(words, sizeof *o->done);
}

void offsets_free(struct offsets *o)
{
    free(o->received);
    free(o->done);
    *o = (struct offsets){0};
}

bool offsets_has_room(const struct offsets *o)
{
    return o->head - o->base < o->window;
}

bool offsets_fits(const struct offsets *o, int64_t offset)
{
    return o->in_flight == 0 || offset - o->base < o->window;
}

/* Passes what is done or was never received, a word of the map at a time. The bits passed are
 * cleared for the next round of the ring. */
static void advance(struct offsets *o)
{
    while (o->base < o->head) {
        size_t slot = slot_of(o, o->base);
        size_t word = slot / WORD_BITS;
        unsigned bit = (unsigned)(slot % WORD_BITS);
        uint64_t open = (o->received[word] & ~o->done[word]) >> bit;
        unsigned step = open ? (unsigned)__builtin_ctzll(open) : WORD_BITS - bit;
        if (step > o->head - o->base)
            step = (unsigned)(o->head - o->base);
        if (step == 0)
            return;
        uint64_t passed = (~UINT64_C(0) >> (WORD_BITS - step)) << bit;
        o->received[word] &= ~passed;
        o->done[word] &= ~passed;
        o->base += step;
    }
}

bool offsets_receive(struct offsets *o, int64_t offset)
{
    if (offset < o->head)
        return false;
    BRG_CHECK(offsets_fits(o, offset));
    if (o->in_flight == 0)
        o->base = offset;
    size_t slot = slot_of(o, offset);
    o->received[slot / WORD_BITS] |= bit_of(slot);
    o->head = offset + 1;
    o->in_flight++;
    return true;
}

bool offsets_complete(struct offsets *o, int64_t offset)
{
    if (offset < o->base || offset >= o->head)
        return false;
    size_t slot = slot_of(o, offset);
    if (!is_set(o->received, slot) || is_set(o->done, slot))
        return false;
    o->done[slot / WORD_BITS] |= bit_of(slot);
    o->in_flight--;
    advance(o);
    return true;
}

size_t offsets_in_flight(const struct offsets *o)
{
    return o->in_flight;
}
