#include "lib/mux/datagram.h"
#include <errno.h>
#include <string.h>

/* --- birth and death ------------------------------------------------------------------ */
static void lists_init(struct mux_stream *s)
{
    list_init(&s->tell);
    list_init(&s->starved);
}

static void copy_open(struct mux_stream *s, const struct mux_open *open)
{
    s->path = open->path;
    s->is_held = open->hop_count > 0;
    s->grace_ds = open->grace_ms / 100 > UINT16_MAX ? UINT16_MAX : (uint16_t)(open->grace_ms / 100);
    memcpy(s->uid, open->uid, sizeof(s->uid));
    memcpy(s->secret, open->secret, sizeof(s->secret));
    s->entry_hash = (uint32_t)hash_bytes(open->entry);
    s->boot_hash = (uint32_t)hash_bytes(open->boot_id);
}

/* The stream is carried by the link under this id; false: no memory, it has no path. */
bool stream_into_link(struct mux_stream *s, struct mux_link *l, uint32_t id)
{
    s->id = id;
    if (leg_join(&s->leg, l, &s->id))
        return false;
    s->link = l;
    s->load_turn = l->load_turn;
    s->load = 0;
    return true;
}

/* NULL: no memory, or the uid is in use. */
struct mux_stream *stream_new(struct mux_link *l, uint32_t id, uint64_t owner, bool is_entry,
                              const struct mux_open *open)
{
    struct mux_stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->mux = l->mux;
    s->is_entry = is_entry;
    s->state = is_entry ? STREAM_OPENING : STREAM_ASKED;
    leg_init(&s->leg, LEG_STREAM, owner);
    lists_init(s);
    copy_open(s, open);
    if (open->kind == MUX_KIND_UDP) {
        s->datagrams = datagrams_new();
        if (!s->datagrams) {
            stream_free(s);
            return NULL;
        }
    }
    if (map_insert(&s->mux->by_uid, &s->by_uid, span_of(s->uid, sizeof(s->uid)))) {
        stream_free(s);
        return NULL;
    }
    if (!stream_into_link(s, l, id)) {
        map_remove(&s->mux->by_uid, &s->by_uid);
        stream_free(s);
        return NULL;
    }
    s->rx_window = s->datagrams ? 0 : (uint32_t)credit_first_window(l->mux);
    s->rx_limit = s->rx_window;
    s->rx_last_ms = (uint32_t)l->mux->now_ms;
    credit_promise_update(s);
    l->mux->stats.streams++;
    return s;
}

void stream_free(struct mux_stream *s)
{
    free(s->frame);
    free(s->text);
    free(s->datagrams);
    free(s);
}

static void drop_queue(struct mux_stream *s, struct chunk_queue *q)
{
    size_t before = stream_held(s);

    chunk_queue_drop_all(q);
    mux_held_changed(s->mux, s, before);
}

void stream_unlink(struct mux_stream *s)
{
    struct mux_link *l = s->link;

    if (!l)
        return;
    leg_leave(&s->leg);
    if (s->state == STREAM_RESETTING)
        list_remove(&s->starved);
    l->unacked -= s->tx_sent - s->tx_acked;
    s->link = NULL;
    if (l->probe == s) {
        l->probe = NULL;
        l->probe_until_ms = 0;
    }
    link_idle_allow(l);
}

static void die(struct mux_stream *s)
{
    stream_unlink(s);
    list_remove(&s->leg.owing);
    move_remember(s);
    drop_queue(s, &s->tx);
    drop_queue(s, &s->rx);
    datagram_drop_all(s);
    list_remove(&s->starved);
    map_remove(&s->mux->by_uid, &s->by_uid);
    s->mux->stats.streams--;
    s->mux->stats.probing -= s->is_probe;
    s->told &= TELL_RESET;
    stream_tell(s, TELL_ENDED);
}

bool stream_step(struct mux_stream *s, enum stream_event event)
{
    enum stream_state next;

    if (!stream_state_next((enum stream_state)s->state, event, &next))
        return false;
    s->mux->steps[s->state][event]++;
    s->state = (uint8_t)next;
    credit_promise_update(s);
    if (next == STREAM_DEAD)
        die(s);
    return true;
}

/* The program has taken all that came before the end. */
void stream_check_drained(struct mux_stream *s)
{
    if (s->rx.len)
        return;
    if (s->is_peer_reset && !s->reset_told && !s->is_cut) {
        s->reset_told = true;
        stream_tell(s, TELL_RESET);
    }
    if (s->state == STREAM_SETTLED)
        stream_step(s, STREAM_EV_DRAINED);
}

void stream_settle(struct mux_stream *s)
{
    stream_unlink(s);
    list_remove(&s->leg.owing);     /* it may have waited for a path */
    s->leg.listed = LISTED_NOWHERE;
    s->is_lost = s->is_attaching = false;
    drop_queue(s, &s->tx);
    if (stream_step(s, STREAM_EV_SETTLED))
        stream_check_drained(s);
}

/* What both ends know stands.  The target side waits for the entry, which may not know yet. */
static bool is_settled_by_loss(const struct mux_stream *s)
{
    if (s->state == STREAM_BROKEN)
        return true;
    return s->state == STREAM_FIN_BOTH && s->fin_acked && (s->is_entry || !stream_may_move(s));
}

void stream_lost(struct mux_stream *s, uint32_t retry_ms)
{
    stream_unlink(s);
    if (is_settled_by_loss(s)) {
        stream_settle(s);
        return;
    }
    if (s->state == STREAM_SETTLED || s->state == STREAM_DEAD)
        return;
    if (stream_may_move(s)) {
        stream_pathless(s, retry_ms);
        return;
    }
    /* A RESET of ours too: the peer may have called it complete before it came. */
    s->how = REASON_SESSION_LOST;
    stream_step(s, STREAM_EV_LOST);
}

void stream_text_set(struct mux_stream *s, struct span text)
{
    struct owed_text *copy = NULL;

    text = span_first(text, MUX_TEXT_MAX);
    if (text.n)
        copy = malloc(sizeof(*copy) + text.n);
    if (copy) {
        copy->len = (uint32_t)text.n;
        memcpy(copy->text, text.p, text.n);
    }
    free(s->text);
    s->text = copy;         /* without memory the reason stands alone */
}

/* Nothing more of what the program wrote goes out. */
static void cut_sending(struct mux_stream *s)
{
    if (s->link) {
        sched_remove(&s->leg);
        s->link->unacked -= s->tx_sent - s->tx_acked;
    }
    s->tx_end = s->tx_acked = s->tx_sent;
    drop_queue(s, &s->tx);
}

static void begin_reset(struct mux_stream *s, enum reason why, struct span text, bool is_now)
{
    bool is_known = !s->is_entry || s->is_open_sent;

    s->how = (uint16_t)why;
    s->is_reset_now = is_now;
    s->is_at_limit = false;             /* its window does not grow any more */
    s->rx_since_grown = (uint32_t)s->mux->now_ms;
    stream_text_set(s, text);
    drop_queue(s, &s->rx);
    datagram_drop_all(s);
    if (is_now)
        cut_sending(s);
    s->owed &= (uint8_t)~(OWE_FIN | OWE_CREDIT);
    s->is_credit_lazy = false;
    if (!is_known) {
        stream_settle(s);
        return;
    }
    stream_owe(s, OWE_RESET);
    list_remove(&s->starved);
    if (!s->link || s->is_lost)
        return;             /* it is said again on the next path */
    list_append(&s->link->resetting, &s->starved);
    s->rx_last_ms = (uint32_t)s->mux->now_ms;
}

/* The bytes before it are not taken, perhaps for ever: the peer may wait for ours to be taken, too. */
void stream_reset_now(struct mux_stream *s)
{
    s->is_reset_now = true;
    cut_sending(s);
    stream_owe_refresh(s);
}

void stream_break(struct mux_stream *s, enum reason why, const char *text)
{
    if (s->owed & OWE_END)
        return;             /* all was agreed before: END will say so */
    if (s->state == STREAM_ASKED)
        mux_stream_refuse(s, why, span_str(text), NULL);
    else if (stream_step(s, STREAM_EV_RESET))
        begin_reset(s, why, span_str(text), true);
    else
        return;             /* it ends already */
    s->reset_told = s->is_cut = true;
    stream_tell(s, TELL_RESET);
}

/* --- the program's side --------------------------------------------------------------- */
static uint64_t ids_left(const struct mux_link *l)
{
    return (0xffffffffu - l->next_id) / 2;
}

/* A link whose ids come to their end takes no more streams; the other side dials a new one. */
bool link_has_ids(struct mux_link *l)
{
    if (ids_left(l) >= MUX_IDS_LEFT)
        return true;
    if (l->state == MUX_LINK_OPEN)
        link_renew(l);
    return false;
}

/* From the peer. */
bool link_takes_streams(const struct mux_link *l)
{
    return l->state == MUX_LINK_OPEN || (l->state == MUX_LINK_DRAINING && l->is_worn);
}

bool mux_link_may_open(struct mux_link *l)
{
    return l->state == MUX_LINK_OPEN && link_has_ids(l);
}

static int may_open(struct mux_link *l)
{
    struct mux *m = l->mux;

    if (l->state == MUX_LINK_GREETING)
        return REASON_NOT_READY;
    if (l->state == MUX_LINK_OPEN && !link_has_ids(l))
        return REASON_LINK_RENEW;
    if (l->state != MUX_LINK_OPEN)
        return ids_left(l) < MUX_IDS_LEFT ? REASON_LINK_RENEW : REASON_RELAY_DRAINING;
    if (m->stats.streams >= m->config.streams_max || !credit_first_window(m)) {
        m->stats.overload_refusals++;
        return REASON_OVERLOAD;
    }
    return 0;
}

static struct owed_frame *frame_copy(const struct buf *b)
{
    struct owed_frame *frame = malloc(sizeof(*frame) + b->len + OPEN_HOPS_LEN);

    if (!frame)
        return NULL;
    frame->len = (uint32_t)b->len;
    memcpy(frame->payload, b->data, b->len);
    return frame;
}

static int send_open(struct mux_stream *s, const struct mux_open *open)
{
    unsigned char mem[FRAME_PAYLOAD_MAX];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    open_encode(&b, open, s->rx_limit);
    if (buf_error(&b))
        return REASON_INVALID;
    s->frame = frame_copy(&b);
    if (!s->frame)
        return -ENOMEM;

    stream_owe(s, OWE_OPEN);
    return 0;
}

/* A stream that nobody has heard of yet goes without a word. */
static void unmake(struct mux_stream *s)
{
    map_remove(&s->mux->by_uid, &s->by_uid);
    s->state = STREAM_DEAD;
    credit_promise_update(s);
    stream_unlink(s);
    s->mux->stats.streams--;
    stream_free(s);
}

int mux_stream_open(struct mux_link *l, const struct mux_open *open, uint64_t owner,
                    void *user, uint64_t now_ms, struct mux_stream **ret_stream)
{
    struct mux_open first = *open;
    struct mux_stream *s;
    int r = may_open(l);

    if (r)
        return r;
    if (now_ms > l->mux->now_ms)
        l->mux->now_ms = now_ms;
    if (map_find(&l->mux->by_uid, span_of(open->uid, MUX_UID_LEN)))
        return REASON_CONFLICT;

    first.path = 1;
    first.hop_count = l->is_between;
    s = stream_new(l, l->next_id, owner, true, &first);
    if (!s)
        return -ENOMEM;
    s->user = user;
    l->next_id += 2;
    r = send_open(s, &first);
    if (r) {
        l->next_id -= 2;
        unmake(s);
        return r;
    }
    if (open->kind != MUX_KIND_PROBE)
        probe_with_use(l);
    *ret_stream = s;
    return 0;
}

void mux_stream_accept(struct mux_stream *s, const struct mux_opened *opened)
{
    unsigned char mem[FRAME_PAYLOAD_MAX];
    struct buf b;

    if (s->state != STREAM_ASKED)
        return;
    buf_init_fixed(&b, mem, sizeof(mem));
    opened_encode(&b, opened, s->rx_limit);
    s->frame = buf_error(&b) ? NULL : frame_copy(&b);
    if (!s->frame) {
        stream_break(s, buf_error(&b) ? REASON_INTERNAL : REASON_OVERLOAD, "answer");
        return;
    }
    stream_step(s, STREAM_EV_ACCEPT);
    stream_owe(s, OWE_ANSWER);
}

void mux_stream_refuse(struct mux_stream *s, enum reason why, struct span text,
                       const struct mux_opened *tries)
{
    unsigned char mem[FRAME_PAYLOAD_MAX];
    struct why w = { why, text, 0 };
    struct buf b;

    if (!stream_step(s, STREAM_EV_REFUSE))
        return;
    s->is_cut = true;
    s->how = (uint16_t)why;
    buf_init_fixed(&b, mem, sizeof(mem));
    refused_encode(&b, &w, tries);
    s->frame = buf_error(&b) ? NULL : frame_copy(&b);       /* NULL: the reason alone */
    stream_owe(s, OWE_ANSWER);
}

void mux_stream_set_user(struct mux_stream *s, void *user)
{
    s->user = user;
}

struct mux_link *mux_stream_link(const struct mux_stream *s)
{
    return s->link;
}

struct span mux_stream_uid(const struct mux_stream *s)
{
    return span_of(s->uid, sizeof(s->uid));
}

/* --- sending -------------------------------------------------------------------------- */
/* How much may wait for the link: 128 KiB, less on a slow one (a tenth of a second). */
static uint64_t backlog_max(const struct mux_stream *s)
{
    uint64_t tenth = s->link && s->link->rate ? s->link->rate / 10 : MUX_BACKLOG_MAX;

    if (tenth > MUX_BACKLOG_MAX)
        return MUX_BACKLOG_MAX;
    return tenth < CHUNK_LARGE ? CHUNK_LARGE : tenth;
}

static size_t writable(const struct mux_stream *s)
{
    uint64_t backlog = s->tx_end - s->tx_sent, room, credit, limit;

    if (!stream_state_is_sending((enum stream_state)s->state) || s->fin_wanted)
        return 0;
    room = backlog < backlog_max(s) ? backlog_max(s) - backlog : 0;
    limit = s->tx_acked + s->mux->config.window_max;    /* whatever the peer grants */
    if (s->tx_limit < limit)
        limit = s->tx_limit;
    credit = limit > s->tx_end ? limit - s->tx_end : 0;
    return (size_t)(credit < room ? credit : room);
}

void stream_writable(struct mux_stream *s)
{
    if (!s->wants_write || !writable(s) || s->tx_end - s->tx_sent > backlog_max(s) / 2)
        return;
    s->wants_write = false;
    stream_tell(s, TELL_WRITABLE);
}

unsigned char *mux_stream_reserve(struct mux_stream *s, size_t *ret_n)
{
    size_t before = stream_held(s), most = writable(s), n;
    unsigned char *at;

    *ret_n = 0;
    s->wants_write = true;
    if (!most)
        return NULL;
    at = chunk_queue_reserve(&s->tx, memory_to_send(s), &n);
    if (!at) {
        list_remove(&s->starved);
        list_append(&s->mux->starved, &s->starved);
        return NULL;
    }
    mux_held_changed(s->mux, s, before);
    s->wants_write = false;
    *ret_n = n < most ? n : most;
    return at;
}

void mux_stream_commit(struct mux_stream *s, size_t n)
{
    size_t before = stream_held(s);

    if (!s->tx.is_reserved)
        return;             /* the stream ended in between: nobody wants the bytes */
    chunk_queue_commit(&s->tx, n);
    s->tx_end += n;
    mux_held_changed(s->mux, s, before);
    if (n == 0 || !s->link)
        return;
    sched_add(&s->leg);
    link_wake(s->link);
}

void mux_stream_fin(struct mux_stream *s)
{
    if (s->state == STREAM_OPENING)
        s->fin_wanted = true;
    else if (stream_step(s, STREAM_EV_FIN))
        stream_owe(s, OWE_FIN);
}

static void forget_received(struct mux_stream *s)
{
    s->is_cut = true;
    drop_queue(s, &s->rx);
    stream_check_drained(s);
}

void mux_stream_reset(struct mux_stream *s, enum reason why, struct span text, bool is_now)
{
    if (s->state == STREAM_ASKED) {
        mux_stream_refuse(s, why, text, NULL);
        return;
    }
    s->told &= TELL_ENDED | TELL_PATH;      /* from now on the program hears only that */
    /* END is on its way, or the other side was first: that is how it ended. */
    if (s->owed & OWE_END || !stream_step(s, STREAM_EV_RESET)) {
        if (s->state == STREAM_SETTLED || s->state == STREAM_BROKEN ||
            s->state == STREAM_FIN_BOTH)
            forget_received(s);
        return;
    }
    s->is_cut = true;
    begin_reset(s, why, text, is_now);
}

uint64_t mux_stream_sent(const struct mux_stream *s)
{
    return s->tx_end;
}

uint64_t mux_stream_unacked(const struct mux_stream *s)
{
    return s->tx_end - s->tx_acked;
}

/* --- receiving ------------------------------------------------------------------------ */
size_t mux_stream_peek(const struct mux_stream *s, struct span *ret_spans, size_t max)
{
    return chunk_queue_peek(&s->rx, ret_spans, max);
}

void mux_stream_consume(struct mux_stream *s, size_t n)
{
    size_t before = stream_held(s);

    if (n > s->rx.len)
        n = s->rx.len;
    chunk_queue_drop(&s->rx, n);
    s->rx_consumed += n;
    mux_held_changed(s->mux, s, before);
    credit_consumed(s);
    stream_check_drained(s);
}

bool mux_stream_at_fin(const struct mux_stream *s)
{
    return s->is_fin_seen && s->rx.len == 0;
}

uint64_t mux_stream_consumed(const struct mux_stream *s)
{
    return s->rx_consumed;
}
