#include "lib/mux/mux_internal.h"
#include <errno.h>
#include <string.h>

#define LABEL_MAX 16
#define ATTACH_LEN_MAX (53 + 3 + 64 + 4)    /* this end sends no ticket */

/* --- clocks ----------------------------------------------------------------------------- */
static uint32_t now32(const struct mux *m)
{
    return (uint32_t)m->now_ms;
}

static uint32_t grace_ms(const struct mux_stream *s)
{
    uint32_t all = s->grace_ds * 100u;

    return s->is_entry ? all / 4 * 3 : all;     /* the target side is there to the last try */
}

/* Milliseconds from now until `due`; 0: it is now, or was. */
static uint32_t left_ms(const struct mux *m, uint32_t due)
{
    return (int32_t)(due - now32(m)) > 0 ? due - now32(m) : 0;
}

static void note_due(struct mux *m, uint32_t in_ms)
{
    if (m->now_ms + in_ms >= m->waiting_due_ms)
        return;
    m->waiting_due_ms = m->now_ms + in_ms;
    if (!list_is_empty(&m->links))
        link_wake(container_of(list_first(&m->links), struct mux_link, node));
}

static void set_due(struct mux_stream *s, uint32_t in_ms)
{
    s->due_ms = now32(s->mux) + in_ms;
    note_due(s->mux, in_ms);
}

static uint32_t backoff(struct mux_stream *s)
{
    uint64_t ms = MUX_RETRY_FIRST_MS;

    for (unsigned i = 1; i < s->tries && ms < MUX_RETRY_MAX_MS; i++)
        ms *= 2;
    return (uint32_t)mux_jittered(s->mux, ms < MUX_RETRY_MAX_MS ? ms : MUX_RETRY_MAX_MS);
}

/* --- without a path --------------------------------------------------------------------- */
bool stream_may_move(const struct mux_stream *s)
{
    return s->mux->config.mac && s->grace_ds && !s->mux->is_freeing;
}

static void want_path(struct mux_stream *s)
{
    if (s->tries < UINT8_MAX)
        s->tries++;
    set_due(s, backoff(s));
    stream_tell(s, TELL_PATH);
}

static void begin_loss(struct mux_stream *s)
{
    if (!s->is_lost) {
        s->is_lost = true;
        s->lost_ms = now32(s->mux);
        s->tries = 0;
        s->mux->stats.paths_lost++;
        note_due(s->mux, grace_ms(s));
    }
    s->is_attaching = s->is_credit_lazy = false;
    s->owed &= (uint8_t)~(OWE_ATTACH | OWE_CREDIT);
}

void stream_pathless(struct mux_stream *s, uint32_t retry_ms)
{
    bool is_first = !s->is_lost;

    begin_loss(s);
    stream_owe_refresh(s);
    if (!s->is_entry)
        return;
    if (is_first && !retry_ms)
        want_path(s);
    else
        set_due(s, retry_ms ? retry_ms : backoff(s));
}

/* The peer may know the id that carries the stream now. */
bool move_is_id_known(const struct mux_stream *s)
{
    return !s->is_entry || !(s->owed & (OWE_OPEN | OWE_ATTACH));
}

static void leave_path(struct mux_stream *s, enum reason why, uint32_t retry_ms)
{
    struct mux_link *l = s->link;

    if (!l)
        return;
    if (move_is_id_known(s) && !l->is_freed && link_has_streams_out(l))
        link_refuse(l, FRAME_DETACH, s->id, why, retry_ms);
    stream_unlink(s);
}

void stream_detach(struct mux_stream *s, enum reason why, const char *text, uint32_t retry_ms)
{
    struct mux_link *l = s->link;
    bool is_of_peer;

    if (!stream_may_move(s)) {
        stream_break(s, why, text);
        return;
    }
    is_of_peer = !s->is_held && why != REASON_OVERLOAD;     /* that is our own want */
    leave_path(s, why, retry_ms);
    stream_lost(s, retry_ms);
    if (is_of_peer)
        link_idle_frame(l);         /* a peer that breaks its paths on purpose comes to an end */
}

/* Its link will end.  What has said its last word lets that go out instead: it needs no other path. */
void stream_leave(struct leg *g, enum reason why)
{
    struct mux_stream *s = stream_of(g);

    if (!stream_may_move(s) || s->owed & (OWE_END | OWE_RESET))
        return;
    leave_path(s, why, 0);
    stream_lost(s, 0);
}

/* --- time --------------------------------------------------------------------------------- */
static void grace_is_over(struct mux_stream *s)
{
    s->mux->stats.graces_over++;
    leave_path(s, REASON_SESSION_LOST, 0);
    if (s->state == STREAM_FIN_BOTH && s->fin_acked) {
        stream_settle(s);
        return;
    }
    s->how = REASON_SESSION_LOST;
    stream_step(s, STREAM_EV_LOST);
}

static void look(struct mux_stream *s)
{
    struct mux *m = s->mux;
    uint32_t left = left_ms(m, s->lost_ms + grace_ms(s));

    if (left == 0) {
        grace_is_over(s);
        return;
    }
    note_due(m, left);
    if (!s->is_entry || (s->link && !s->is_attaching))
        return;
    if (left_ms(m, s->due_ms)) {
        note_due(m, left_ms(m, s->due_ms));
    } else if (s->is_attaching) {
        leave_path(s, REASON_DIAL_TIMEOUT, 0);
        stream_pathless(s, 0);
    } else {
        want_path(s);
    }
}

void move_tick(struct mux *m)
{
    if (m->now_ms < m->waiting_due_ms)
        return;
    m->waiting_due_ms = UINT64_MAX;
    LIST_EACH(&m->waiting, node)
        look(container_of(node, struct mux_stream, leg.owing));
}

/* What waits may find its path over the link that has just opened. */
void move_link_opened(struct mux *m)
{
    LIST_EACH(&m->waiting, node) {
        struct mux_stream *s = container_of(node, struct mux_stream, leg.owing);

        if (!s->is_entry || s->link)
            continue;
        s->tries = 0;
        set_due(s, MUX_LINK_NEW_MS);
    }
}

/* --- proofs ------------------------------------------------------------------------------- */
static void prove(const struct mux_stream *s, const char *label, uint32_t path,
                  uint64_t received, unsigned char ret_proof[FRAME_PROOF_LEN])
{
    unsigned char mem[LABEL_MAX + MUX_UID_LEN + 12], mac[32];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put_span(&b, span_str(label));
    buf_put(&b, s->uid, sizeof(s->uid));
    buf_put_u32(&b, path);
    buf_put_u64(&b, received);
    s->mux->config.mac(s->secret, buf_span(&b), mac);
    memcpy(ret_proof, mac, FRAME_PROOF_LEN);
}

static bool is_proved(const struct mux_stream *s, const char *label, const struct frame_attach *a)
{
    unsigned char proof[FRAME_PROOF_LEN];

    prove(s, label, a->path, a->received, proof);
    return span_eq_secret(span_of(proof, sizeof(proof)), a->proof);
}

bool move_put_attach(struct mux_stream *s, struct buf *out)
{
    const char *boot_id = s->mux->config.boot_id;
    unsigned char proof[FRAME_PROOF_LEN];
    struct frame_attach a = {
        .uid = span_of(s->uid, sizeof(s->uid)), .path = s->path, .received = s->rx_received,
        .is_fin_seen = s->is_fin_seen, .proof = span_of(proof, sizeof(proof)),
    };

    if (out->cap - out->len < FRAME_HEADER_LEN + ATTACH_LEN_MAX)
        return false;
    a.limit = credit_path_limit(s);
    a.hop_count = s->is_entry && s->is_held;
    prove(s, s->is_entry ? "attach" : "attach-ok", a.path, a.received, proof);
    if (s->is_entry && s->frame)
        a.boot_id = span_of(s->frame->payload, s->frame->len);
    if (!s->is_entry && boot_id)
        a.boot_id = span_str(boot_id);
    s->rx_unacked = 0;
    frame_attach_put(out, s->is_entry ? FRAME_ATTACH : FRAME_ATTACH_OK, s->id, &a);
    s->mux->stats.frames_out[s->is_entry ? FRAME_ATTACH : FRAME_ATTACH_OK]++;
    if (s->is_entry)
        set_due(s, MUX_ATTACH_MS);
    return true;
}

/* --- going on ----------------------------------------------------------------------------- */
static void owe_ends_again(struct mux_stream *s)
{
    bool has_fin = s->state == STREAM_FIN_OUT || s->state == STREAM_FIN_BOTH;

    s->owed &= (uint8_t)~(OWE_FIN | OWE_RESET);
    if (has_fin && !s->fin_acked)
        s->owed |= OWE_FIN;
    if (s->state != STREAM_RESETTING)
        return;
    s->owed |= OWE_RESET;
    if (!s->is_reset_now && now32(s->mux) - s->rx_since_grown >= MUX_SETTLE_MS)
        stream_reset_now(s);
    s->rx_last_ms = now32(s->mux);
    list_remove(&s->starved);
    list_append(&s->link->resetting, &s->starved);
}

/* From the peer's `received` on, everything goes out again. */
static bool rewind_to(struct mux_stream *s, uint64_t received)
{
    size_t before = stream_held(s);

    if (s->state == STREAM_RESETTING && s->is_reset_now)
        return true;                    /* nothing is left that could */
    if (received < s->tx_acked || received > s->tx_sent)
        return false;
    chunk_queue_drop(&s->tx, (size_t)(received - s->tx_acked));
    chunk_queue_rewind(&s->tx);
    s->mux->stats.replayed_bytes += s->tx_sent - received;
    s->tx_acked = s->tx_sent = received;
    mux_held_changed(s->mux, s, before);
    return true;
}

static bool take_fin_seen(struct mux_stream *s, uint64_t received)
{
    bool is_out = s->state == STREAM_FIN_OUT || s->state == STREAM_FIN_BOTH;

    if (s->state == STREAM_RESETTING)
        return true;
    if (!is_out || received != s->tx_end)
        return false;
    s->fin_acked = true;
    return true;
}

static void has_path(struct mux_stream *s)
{
    s->is_lost = s->is_attaching = false;
    s->tries = 0;
    s->mux->stats.paths_found++;
    owe_ends_again(s);
    stream_owe_refresh(s);
    sched_add(&s->leg);
    stream_writable(s);
    stream_check_settled(s);
    stream_tell(s, TELL_MOVED);
}

/* Both ends know what the other has: the stream goes on there. */
static bool resume(struct mux_stream *s, const struct frame_attach *a)
{
    if (!rewind_to(s, a->received))
        return false;
    s->tx_limit = a->limit;
    if (a->is_fin_seen && !take_fin_seen(s, a->received))
        return false;
    has_path(s);
    return true;
}

/* --- the entry ---------------------------------------------------------------------------- */
static bool is_movable_now(const struct mux_stream *s)
{
    return s->is_entry && stream_may_move(s) && !(s->owed & OWE_END) &&
           s->state != STREAM_SETTLED && s->state != STREAM_DEAD && s->state != STREAM_BROKEN;
}

static struct owed_frame *boot_copy(struct span boot_id)
{
    struct owed_frame *frame = malloc(sizeof(*frame) + boot_id.n);

    if (!frame)
        return NULL;
    frame->len = (uint32_t)boot_id.n;
    if (boot_id.n)
        memcpy(frame->payload, boot_id.p, boot_id.n);
    return frame;
}

/* It counts as lost until the answer comes: the target side may be without a path since then. */
static void ask_again(struct mux_stream *s, bool was_held)
{
    open_set_path(s->frame->payload, s->path);
    s->frame->len = (uint32_t)open_set_hops(s->frame->payload, s->frame->len, was_held, s->is_held);
    stream_owe(s, OWE_OPEN);
}

static int attach(struct mux_stream *s, struct mux_link *l, struct span boot_id)
{
    bool is_opening = s->state == STREAM_OPENING && s->frame, was_held = s->is_held;
    struct owed_frame *boot = is_opening ? NULL : boot_copy(boot_id);

    if (!is_opening && !boot)
        return -ENOMEM;
    leave_path(s, REASON_STALE_PATH, 0);
    begin_loss(s);
    s->path++;
    if (!stream_into_link(s, l, l->next_id)) {
        free(boot);
        stream_owe_refresh(s);
        return -ENOMEM;
    }
    s->is_held = l->is_between;
    l->next_id += 2;
    if (is_opening) {
        ask_again(s, was_held);
        return 0;
    }
    free(s->frame);
    s->frame = boot;
    s->owed &= (uint8_t)~OWE_OPEN;      /* said on the path before; a reset came between */
    s->is_attaching = true;
    stream_owe(s, OWE_ATTACH);
    return 0;
}

int mux_stream_attach(struct mux_stream *s, struct mux_link *l, struct span boot_id,
                      uint64_t now_ms)
{
    struct mux *m = s->mux;

    if (now_ms > m->now_ms)
        m->now_ms = now_ms;
    if (!is_movable_now(s) || boot_id.n > 64)
        return REASON_CONFLICT;
    if (l->mux != m || l->is_freed || l->state != MUX_LINK_OPEN || !link_has_ids(l))
        return REASON_NOT_READY;
    probe_with_use(l);
    return attach(s, l, boot_id);
}

/* Who answers as somebody else is not the peer: the path is no good. */
static void refuse_path(struct mux_stream *s, const char *text)
{
    s->mux->stats.protocol_errors++;
    stream_detach(s, REASON_BAD_PROOF, text, 0);
}

void move_on_attach_ok(struct mux_stream *s, const struct frame *f)
{
    struct frame_attach a;

    if (!s->is_attaching || s->owed & OWE_ATTACH) {
        stream_fault(s, "ATTACH_OK that was not asked for");
        return;
    }
    if (frame_attach_read(f->payload, &a) || a.path != s->path ||
        !span_eq(a.uid, span_of(s->uid, sizeof(s->uid))) || !is_proved(s, "attach-ok", &a))
        refuse_path(s, "ATTACH_OK");
    else if (!resume(s, &a))
        stream_fault(s, "ATTACH_OK: offsets");
}

/* The target side has forgotten the stream.  It does so when it has seen our RESET; where it may
 * have been complete before that, or refused, nobody knows. */
static void is_forgotten(struct mux_stream *s, enum reason why)
{
    if (s->state == STREAM_RESETTING && s->is_answered && !s->is_fin_seen &&
        why != REASON_BAD_PROOF) {
        stream_settle(s);
        return;
    }
    s->how = (uint16_t)(why == REASON_AGENT_RESTARTED ? why : REASON_SESSION_LOST);
    stream_step(s, STREAM_EV_LOST);
}

static bool is_final(enum reason why)
{
    return why == REASON_UNKNOWN_STREAM || why == REASON_AGENT_RESTARTED ||
           why == REASON_BAD_PROOF;
}

void move_on_attach_err(struct mux_stream *s, const struct frame *f)
{
    struct why w;

    if (!s->is_attaching || s->owed & OWE_ATTACH || why_decode(f->payload, &w)) {
        stream_fault(s, "ATTACH_ERR");
        return;
    }
    stream_unlink(s);
    if (is_final(w.reason))
        is_forgotten(s, w.reason);
    else
        stream_pathless(s, 0);
}

/* --- to another mux ------------------------------------------------------------------------ */
bool stream_may_attach(const struct mux_stream *s)
{
    return is_movable_now(s);
}

void stream_leave_path(struct mux_stream *s, enum reason why)
{
    leave_path(s, why, 0);
    begin_loss(s);
}

void stream_wants_path(struct mux_stream *s)
{
    s->tries = 0;
    note_due(s->mux, left_ms(s->mux, s->lost_ms + grace_ms(s)));
    stream_owe_refresh(s);
    want_path(s);
}

void mux_stream_abandon(struct mux_stream *s, enum reason how)
{
    if (s->state == STREAM_SETTLED || s->state == STREAM_DEAD)
        return;
    leave_path(s, how, 0);
    s->how = (uint16_t)how;
    stream_step(s, STREAM_EV_LOST);
}

/* --- the target side ----------------------------------------------------------------------- */
static enum reason judge(const struct mux_link *l, const struct frame_attach *a,
                         struct mux_stream **ret_stream)
{
    struct mux *m = l->mux;
    struct map_node *node = map_find(&m->by_uid, a->uid);
    struct mux_stream *s = node ? container_of(node, struct mux_stream, by_uid) : NULL;

    if (!s || s->is_entry || !stream_may_move(s) || s->state == STREAM_BROKEN ||
        s->state == STREAM_SETTLED) {
        bool is_other = m->config.boot_id && a->boot_id.n &&
                        !span_eq(a->boot_id, span_str(m->config.boot_id));

        return is_other ? REASON_AGENT_RESTARTED : REASON_UNKNOWN_STREAM;
    }
    if (!is_proved(s, "attach", a))
        return REASON_BAD_PROOF;
    if (a->path <= s->path)
        return REASON_STALE_PATH;
    *ret_stream = s;
    return link_takes_streams(l) ? REASON_NONE : REASON_RELAY_DRAINING;
}

/* The stream is carried by (l, id) from now on; the old id is dead. */
static bool switch_path(struct mux_stream *s, struct mux_link *l, uint32_t id, uint32_t path)
{
    leave_path(s, REASON_STALE_PATH, 0);
    begin_loss(s);
    s->path = path;
    if (link_takes_streams(l) && stream_into_link(s, l, id))
        return true;                /* else it has just failed */
    stream_owe_refresh(s);
    return false;
}

void move_on_attach(struct mux_link *l, const struct frame *f)
{
    struct mux_stream *s = NULL;
    struct frame_attach a;
    enum reason why = REASON_PROTOCOL_ERROR;

    if (!frame_attach_read(f->payload, &a))
        why = judge(l, &a, &s);
    if (why == REASON_NONE && !switch_path(s, l, f->stream, a.path))
        why = REASON_OVERLOAD;
    if (why != REASON_NONE) {
        link_refuse(l, FRAME_ATTACH_ERR, f->stream, why, 0);
        return;
    }
    s->is_held = a.hop_count > 0 && link_is_to_relay(l);
    s->owed |= OWE_ATTACH;
    if (!resume(s, &a))
        stream_fault(s, "ATTACH: offsets");
}

bool stream_rejoins(const struct mux_stream *s, const struct mux_open *open)
{
    bool is_unanswered = s->state == STREAM_ASKED || s->state == STREAM_REFUSING || s->frame;

    return !s->is_entry && stream_may_move(s) && is_unanswered && open->path > s->path &&
           s->state != STREAM_BROKEN && s->state != STREAM_SETTLED &&
           span_eq_secret(span_of(open->secret, MUX_SECRET_LEN),
                          span_of(s->secret, sizeof(s->secret)));
}

void stream_rejoin(struct mux_stream *s, struct mux_link *l, uint32_t id,
                   const struct mux_open *open, uint64_t limit)
{
    struct frame_attach a = { .path = open->path, .limit = limit };

    if (!switch_path(s, l, id, open->path)) {
        link_refuse(l, FRAME_OPEN_ERR, id, REASON_OVERLOAD, 0);
        return;
    }
    s->is_held = open->hop_count > 0;
    if (s->state != STREAM_ASKED)
        s->owed |= OWE_ANSWER;
    if (!resume(s, &a))
        stream_fault(s, "OPEN again after the answer was seen");
}

void mux_abandon_entry(struct mux *m, struct span entry, struct span boot_id, enum reason how)
{
    uint32_t entry_hash = (uint32_t)hash_bytes(entry), boot_hash = (uint32_t)hash_bytes(boot_id);
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&m->by_uid, &cursor))) {
        struct mux_stream *s = container_of(node, struct mux_stream, by_uid);

        if (s->is_entry || s->entry_hash != entry_hash || s->boot_hash == boot_hash)
            continue;
        s->path = UINT32_MAX;       /* an OPEN of the dead boot that is still under way is old */
        mux_stream_abandon(s, how);
    }
}

/* On a slow path the first OPEN may come after the stream went on over another and ended: it
 * must not be dialled again. */
void move_remember(const struct mux_stream *s)
{
    struct mux *m = s->mux;
    struct forgotten *f = &m->forgotten[m->forgotten_count % MUX_FORGOTTEN_MAX];

    if (s->is_entry || s->path < 2)
        return;
    memcpy(f->uid, s->uid, sizeof(f->uid));
    f->path = s->path;
    m->forgotten_count++;
}

bool move_is_forgotten(const struct mux *m, const struct mux_open *open)
{
    for (size_t i = 0; i < m->forgotten_count && i < MUX_FORGOTTEN_MAX; i++) {
        const struct forgotten *f = &m->forgotten[i];

        if (open->path < f->path && memcmp(f->uid, open->uid, sizeof(f->uid)) == 0)
            return true;
    }
    return false;
}

uint32_t mux_stream_path(const struct mux_stream *s)
{
    return s->path;
}
