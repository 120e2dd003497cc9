#pragma once
#include "lib/mux/sim_tally_test.h"
/*
 * sim_progs_test.h - the programs of the simulation, and how their streams have to have ended.
 */
#define PROGS_MAX 16

struct prog {                       /* one end of one stream */
    struct mux_stream *s;
    struct prog *peer;
    uint32_t key;
    int end;
    uint64_t to_send, sent, got;
    uint64_t reset_ms;              /* when it has reset */
    uint32_t opened_path;           /* entry: that brought the answer */
    uint64_t answer_ms;             /* when a late answer comes; 0: it has */
    char boot_id[8];                /* entry: of the target side that answered */
    bool is_open, is_fin_given, is_stalled, is_ended, has_reset, is_reset_now, is_gone;
    bool is_refused, was_opened, is_forged, is_harmed;  /* harmed: a hostile frame broke it */
    bool wants_other;               /* its path is a lane of the other mux */
    unsigned last_state;
    enum reason how;
};

static struct prog progs[PROGS_MAX][2];
static unsigned opened;

static inline const unsigned char *pattern(const struct prog *from, uint64_t offset)
{
    return pattern_row + (from->key * 7919u + offset) % PATTERN_PERIOD;
}

static inline bool is_lost(const struct prog *p)
{
    return p->is_gone || (p->is_ended && (p->how == REASON_SESSION_LOST ||
                                          p->how == REASON_AGENT_RESTARTED));
}

static inline void check_complete(const struct prog *p)
{
    if (p->how != REASON_NONE || p->has_reset || p->is_gone)
        return;
    if (p->got != p->peer->sent || !p->peer->is_fin_given || p->sent != p->to_send)
        fail_msg("seed %lu: stream %u says complete with %lu of %lu bytes", sim.seed, p->key,
                 p->got, p->peer->sent);
}

static inline void check_stream(const struct prog *a, const struct prog *b)
{
    assert_true(a->is_ended);
    if (!a->is_open && (a->how == REASON_OVERLOAD || a->how == REASON_RELAY_DRAINING)) {
        tally.refused++;            /* said again after an answer that was lost: another refusal */
        return;
    }
    if (a->is_harmed) {             /* who was deceived may have seen another end */
        check_complete(a);
        tally.harmed++;
        return;
    }
    if (b->is_ended && !is_lost(a) && !is_lost(b) && a->how != b->how)
        fail_msg("seed %lu: stream %u ended %s at the entry, %s at the target (reset %d/%d "
                 "now %d/%d)", sim.seed, a->key, reason_text(a->how), reason_text(b->how),
                 a->has_reset, b->has_reset, a->is_reset_now, b->is_reset_now);
    if (!sim.is_harsh && a->how == REASON_SESSION_LOST && !a->has_reset && !b->has_reset)
        fail_msg("seed %lu: stream %u is lost though a path came back", sim.seed, a->key);
    if (a->how == REASON_STALE_PATH)
        fail_msg("seed %lu: stream %u was taken for an old one", sim.seed, a->key);
    if (!b->is_ended && a->is_open)
        fail_msg("seed %lu: stream %u was opened and the target never heard", sim.seed, a->key);
    check_complete(a);
    if (b->is_ended)
        check_complete(b);
    if (b->has_reset && !b->is_reset_now && !a->has_reset && !is_lost(a) && !is_lost(b) &&
        a->is_open)
        assert_int_equal(a->got, b->sent);
    if (a->has_reset && !a->is_reset_now && b->is_ended && !b->has_reset && b->is_open &&
        !is_lost(a) && !is_lost(b))
        assert_int_equal(b->got, a->sent);
    tally.complete += a->how == REASON_NONE;
    tally.reset += a->how == REASON_TARGET_RESET || a->how == REASON_CLIENT_GONE;
    tally.lost += a->how == REASON_SESSION_LOST;
    tally.restarted += a->how == REASON_AGENT_RESTARTED;
    tally.refused += a->how == REASON_DIAL_TIMEOUT;
}
