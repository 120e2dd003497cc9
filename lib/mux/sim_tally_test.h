#pragma once
#include "lib/mux/sim_holder_test.h"
#include "lib/mux/sim_proof_test.h"
/*
 * sim_tally_test.h - how often the simulation met what; it fails where that is never.
 */
static struct { uint64_t complete, reset, lost, restarted, refused, moved, harmed; } tally;
static struct { uint64_t none, all, some, fin; } replay[2];
static unsigned never_met;

/* --- how often ---------------------------------------------------------------------------------- */
static inline void must_have(const char *what, uint64_t count)
{
    print_message("  %-32s %lu\n", what, count);
    if (count)
        return;
    print_message("never met: %s\n", what);
    never_met++;
}

static inline void check_frames(void)
{
    static const struct { uint8_t type; int end; } said[] = {
        { FRAME_HELLO, 0 },   { FRAME_HELLO, 1 },      { FRAME_PING, 0 },   { FRAME_PONG, 1 },
        { FRAME_GOAWAY, 0 },  { FRAME_GOAWAY, 1 },     { FRAME_OPEN, 0 },   { FRAME_OPEN_OK, 1 },
        { FRAME_OPEN_ERR, 1 }, { FRAME_DATA, 0 },      { FRAME_DATA, 1 },   { FRAME_CREDIT, 0 },
        { FRAME_CREDIT, 1 },  { FRAME_FIN, 0 },        { FRAME_FIN, 1 },    { FRAME_RESET, 0 },
        { FRAME_RESET, 1 },   { FRAME_END, 0 },        { FRAME_ATTACH, 0 }, { FRAME_ATTACH_OK, 1 },
        { FRAME_ATTACH_ERR, 1 }, { FRAME_DETACH, 0 },  { FRAME_DETACH, 1 },
    };
    char what[64];

    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        (void)snprintf(what, sizeof(what), "%s by the %s", frame_name(said[i].type),
                       said[i].end ? "target" : "entry");
        must_have(what, total[said[i].end].frames_out[said[i].type]);
    }
}

static inline void check_faults(void)
{
    static const char *const names[FAULT_COUNT] = {
        "link reset", "link reset, told late", "link silent", "link stalled", "cut mid-frame",
        "link drained", "sent away", "moved while alive", "handed over", "entry restarted", "target restarted", "holder restarted",
        "end stalled", "reset by entry", "reset by target", "late answer", "long outage",
        "ids used up", "deaf to probes", "refused",
        "attach to an old boot", "forged proof", "memory nearly full",
        "half full of what stands still", "an allocation failed",
    };

    for (int i = 0; i < FAULT_COUNT; i++)
        must_have(names[i], faults[i]);
}

/* The steps of the table that an end has to take: the entry opens, the target side answers (the
 * other way round there are probes only), and some need a program that dies in one moment. */
static inline bool is_wanted(int end, enum stream_state from, enum stream_event event)
{
    static const struct { int end, from, event; } rare[] = {
        { ENTRY, STREAM_ASKED, -1 },        { ENTRY, STREAM_REFUSING, -1 },
        { TARGET, STREAM_OPENING, -1 },     { TARGET, -1, STREAM_EV_REFUSED },
        { ENTRY, STREAM_OPENING, STREAM_EV_PEER_RESET },
        { TARGET, STREAM_REFUSING, STREAM_EV_PEER_RESET },
        { -1, STREAM_BROKEN, STREAM_EV_LOST }, { -1, STREAM_SETTLED, STREAM_EV_LOST },
    };
    enum stream_state to;

    if (!stream_state_next(from, event, &to))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(rare); i++) {
        if ((rare[i].end < 0 || rare[i].end == end) &&
            (rare[i].from < 0 || rare[i].from == (int)from) &&
            (rare[i].event < 0 || rare[i].event == (int)event))
            return false;
    }
    return true;
}

static inline void check_steps(void)
{
    static const char *const events[STREAM_EVENT_COUNT] = {
        "accept", "refuse", "refused", "fin", "peer's fin", "reset", "peer's reset", "settled",
        "lost", "drained",
    };
    char what[64];

    for (int i = 0; i < 2 * STREAM_STATE_COUNT * STREAM_EVENT_COUNT; i++) {
        int end = i / (STREAM_STATE_COUNT * STREAM_EVENT_COUNT);
        enum stream_state from = (enum stream_state)(i / STREAM_EVENT_COUNT % STREAM_STATE_COUNT);
        enum stream_event event = (enum stream_event)(i % STREAM_EVENT_COUNT);

        if (!is_wanted(end, from, event))
            continue;
        (void)snprintf(what, sizeof(what), "%s: %s, %s", end ? "target" : "entry",
                       stream_state_name(from), events[event]);
        must_have(what, steps[end][from][event]);
    }
}

static inline void check_replay(void)
{
    for (int end = 0; end < 2; end++) {
        must_have("replay: nothing", replay[end].none);
        must_have("replay: from the start", replay[end].all);
        must_have("replay: from the middle", replay[end].some);
        must_have("replay: FIN was seen", replay[end].fin);
    }
}

static inline void check_tricks(void)
{
    for (size_t i = 0; i < ARRAY_LEN(tricks); i++)
        must_have(tricks[i].it, played[i]);
    for (size_t i = 0; i < ARRAY_LEN(answer_tricks); i++)
        must_have(answer_tricks[i].it, answer_played[i]);
}

static inline void check_held(void)
{
    const struct mux_holder_stats *s = &held_total;
    const struct { const char *it; uint64_t count; } rows[] = {
        { "hops that ended", hop_tally.ended }, { "hops refused", s->hops_refused },
        { "bytes through holders, down", s->bytes[MUX_TO_TARGET] },
        { "bytes through holders, up", s->bytes[MUX_TO_ENTRY] },
        { "DATA split", s->split }, { "CREDIT of a holder's own", s->credits },
        { "limits held back", s->limits_held }, { "limits under pressure", s->limits_pressed },
        { "DETACH by a holder", s->detaches }, { "RESET by a holder", s->resets },
        { "gaps at a holder", s->gaps }, { "faults at a holder", s->faults },
        { "no memory at a holder", s->overloads }, { "late at a holder", s->late_frames },
        { "unknown frames passed", s->unknown_frames }, { "unknown frames met", hop_tally.strange_met },
        { "unknown frames in floods", hop_tally.floods },
        { "DATA with unknown flags", hop_tally.flags_met }, { "large DATA", hop_tally.large },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        must_have(rows[i].it, rows[i].count);
    for (size_t i = 0; i < ARRAY_LEN(hop_tricks); i++)
        must_have(hop_tricks[i].it, hop_played[i]);
}

static inline void check_tally(void)
{
    check_held();
    check_frames();
    check_faults();
    check_steps();
    check_replay();
    check_tricks();
    must_have("complete", tally.complete);
    must_have("reset", tally.reset);
    must_have("session-lost", tally.lost);
    must_have("agent-restarted", tally.restarted);
    must_have("refused", tally.refused);
    must_have("moved", tally.moved);
    must_have("graces over, entry", total[0].graces_over);
    must_have("graces over, target", total[1].graces_over);
    must_have("late frames", total[0].late_frames + total[1].late_frames);
    must_have("probes", total[0].probes + total[1].probes);
    must_have("probes that failed", total[0].probes_failed);
    must_have("doubted: in use and silent", proofs.silent);
    must_have("doubted: a probe failed", proofs.unanswered);
    must_have("proved by a first probe", proofs.first);
    must_have("proved again", proofs.again);
    must_have("deceived", tally.harmed);
    must_have("given up for want of memory", total[0].dropped_bytes + total[1].dropped_bytes);
    must_have("overload", total[0].overload_refusals + total[1].overload_refusals);
    if (never_met)
        fail_msg("%u of these were never met", never_met);
}

static inline uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}
