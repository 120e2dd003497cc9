#include "lib/mux/mux_internal.h"
/*
 * Whether a link on which we open streams is believed in: it is while its peer is heard when it is
 * in use, and answers what is opened.  Doubt ends nothing; the program is told.
 */

static enum mux_proof proof_of(unsigned doubts)
{
    if (doubts & (DOUBT_SILENT | DOUBT_PROBE))
        return MUX_DOUBTED;
    return doubts ? MUX_UNPROVED : MUX_PROVED;
}

enum mux_proof mux_link_proof(const struct mux_link *l)
{
    return proof_of(l->doubts);
}

static void set_doubts(struct mux_link *l, unsigned doubts)
{
    enum mux_proof before = proof_of(l->doubts), now = proof_of(doubts);

    l->doubts = (uint8_t)doubts;
    if (now == before)
        return;
    l->mux->stats.doubts += now == MUX_DOUBTED;
    if (l->mux->on.on_proof)
        l->mux->on.on_proof(l->user, l, now);
}

/* --- use ------------------------------------------------------------------------------ */
bool link_is_busy(const struct mux_link *l)
{
    bool is_heard = l->data_heard_ms && l->mux->now_ms - l->data_heard_ms < MUX_HEARD_MS;

    return l->unacked || is_heard || l->is_between;
}

/* Where use begins, PING is due earlier than whoever waits for the time was told. */
void proof_produced(struct mux_link *l)
{
    if (l->use_ms || l->is_freed || !link_is_busy(l))
        return;
    l->use_ms = l->mux->now_ms;
    link_wake(l);
}

/* --- what speaks for it, and against it -------------------------------------------------- */
void proof_begin(struct mux_link *l)
{
    l->doubts = link_is_proved_by_us(l) ? DOUBT_NEW : 0;
}

void proof_heard(struct mux_link *l)
{
    l->heard_ms = l->mux->now_ms;
    if (l->doubts & DOUBT_SILENT)
        set_doubts(l, l->doubts & ~(unsigned)DOUBT_SILENT);
}

void proof_answered(struct mux_link *l)
{
    l->probe_retry_ms = 0;
    if (l->doubts)
        set_doubts(l, 0);
}

void proof_failed(struct mux_link *l)
{
    if (link_is_proved_by_us(l))
        set_doubts(l, l->doubts | DOUBT_PROBE);
}

/* --- time ----------------------------------------------------------------------------- */
void proof_slept(struct mux_link *l)
{
    l->heard_ms = l->mux->now_ms;
}

uint64_t proof_due(const struct mux_link *l)
{
    uint64_t since_ms = l->heard_ms > l->use_ms ? l->heard_ms : l->use_ms;

    if (!link_is_proved_by_us(l) || !l->use_ms || l->doubts & DOUBT_SILENT)
        return UINT64_MAX;
    return since_ms + l->mux->config.proof_use_ms;
}

void proof_tick(struct mux_link *l)
{
    uint64_t now_ms = l->mux->now_ms;

    if (!link_is_busy(l))
        l->use_ms = 0;
    else if (!l->use_ms)
        l->use_ms = now_ms;
    if (now_ms >= proof_due(l))
        set_doubts(l, l->doubts | DOUBT_SILENT);
}
