#pragma once
#include "lib/mux/sim_lanes_test.h"
/*
 * sim_proof_test.h - what the entry believes of its links, against what was really heard on them; and
 * a target side that opens streams but answers no probe for a while.
 */
#define SIM_PROVED_AGAIN_MS 30000   /* probes are at most 10 s apart, and wait 3 s */

static struct { uint64_t silent, unanswered, first, again; } proofs;

/* Every other run: links are probed all the time. */
static inline void proofs_choose(struct mux_config *entry)
{
    entry->probe_every_ms = sim.seed % 2 ? 2000 + (uint32_t)(sim.seed % 6000) : 0;
    entry->probe_rest_ms = 200;
}

static inline void note_doubt(const struct mux_link *l)
{
    proofs.unanswered += (l->doubts & DOUBT_PROBE) != 0;
    proofs.silent += (l->doubts & DOUBT_SILENT) != 0;
}

static inline void on_proof(void *user, struct mux_link *l, enum mux_proof proof)
{
    struct lane *lane = user;

    assert_int_equal(mux_link_proof(l), proof);
    if (proof == MUX_DOUBTED)
        note_doubt(l);
    if (proof != MUX_PROVED)
        return;
    proofs.first += !lane->was_proved;
    proofs.again += lane->was_proved;
    lane->was_proved = true;
}

/* What is opened from now on is the programs'. */
static inline void proofs_stop(void)
{
    sim.mux[ENTRY]->config.probe_every_ms = 0;
    if (sim.twin)
        sim.twin->config.probe_every_ms = 0;
}

/* True: this probe is not answered. */
static inline bool is_deaf(void)
{
    return sim.now_ms < sim.deaf_until_ms;
}

static inline void chaos_of_proofs(void)
{
    if (!sim.config[ENTRY].probe_every_ms || is_deaf() || !one_in(120))
        return;
    sim.deaf_until_ms = sim.now_ms + 3000 + below(6000);
    faults[FAULT_DEAF]++;
}

/* Nothing is in the way of its proof. */
static inline bool could_be_proved(const struct lane *lane, const struct mux_link *l)
{
    return sim.is_calm && link_is_proved_by_us(l) && !is_deaf() && !lane->is_silent && !lane_is_dying(lane) &&
           mux_link_state(l) == MUX_LINK_OPEN && credit_first_window(l->mux);
}

static inline void check_proofs(void)
{
    for (int i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &sim.lanes[i];
        const struct mux_link *l = lane->link[ENTRY];

        if (!l || node_of(lane, ENTRY) != ENTRY)
            continue;
        if (l->doubts & DOUBT_SILENT && sim.now_ms - lane->heard_ms < l->mux->config.proof_use_ms)
            fail_msg("seed %lu: a link that was heard %lu ms ago is doubted", sim.seed, sim.now_ms - lane->heard_ms);
        if (mux_link_proof(l) == MUX_PROVED || !could_be_proved(lane, l))
            lane->unproved_ms = sim.now_ms;
        if (sim.now_ms - lane->unproved_ms > SIM_PROVED_AGAIN_MS)
            fail_msg("seed %lu: a good link is not proved again", sim.seed);
    }
}
